/* edgeprune's device runtime for C and C++. Made from device-runtime/c/src/lib.rs: `cargo test -p edgeprune-c` says when it is old. */

#ifndef EDGEPRUNE_H
#define EDGEPRUNE_H

#include <stddef.h>
#include <stdint.h>

/*
 What a call says.
 */
typedef enum {
  /*
   It is done.
   */
  EDGEPRUNE_STATUS_OK = 0,
  /*
   An address is null, or not aligned as it must be.
   */
  EDGEPRUNE_STATUS_BAD_ADDRESS = 1,
  /*
   The bytes are no package, or a damaged one.
   */
  EDGEPRUNE_STATUS_NOT_A_PACKAGE = 2,
  /*
   A package that this runtime cannot run: of another version, or with an operator that was left out.
   */
  EDGEPRUNE_STATUS_UNSUPPORTED = 3,
  /*
   The memory is shorter than `edgeprune_memory_bytes` says.
   */
  EDGEPRUNE_STATUS_MEMORY_TOO_SHORT = 4,
  /*
   The network has no input or output of that index.
   */
  EDGEPRUNE_STATUS_NO_SUCH_PORT = 5,
  /*
   The array has another number of elements than the input or output.
   */
  EDGEPRUNE_STATUS_WRONG_LENGTH = 6,
} edgeprune_status;

/*
 How elements are stored.
 */
typedef enum {
  /*
   `float`.
   */
  EDGEPRUNE_ELEMENT_TYPE_FLOAT32 = 0,
  /*
   `int8_t`: `(code - zero_point) * scale` is the real value.
   */
  EDGEPRUNE_ELEMENT_TYPE_INT8 = 1,
} edgeprune_element_type;

/*
 A network that is open, in memory of the caller.
 */
typedef struct edgeprune_session edgeprune_session;

/*
 An input or output.
 */
typedef struct {
  /*
   Batch, height, width, channels.
   */
  uint32_t shape[4];
  /*
   Product of the shape.
   */
  size_t elements;
  /*
   How elements are stored.
   */
  edgeprune_element_type element_type;
  /*
   Of `int8_t`; else 1.
   */
  float scale;
  /*
   Of `int8_t`; else 0.
   */
  int32_t zero_point;
} edgeprune_port;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Writes to `memory_bytes` how much memory a session of the package needs on this processor.

 # Safety
 `package` points to `package_bytes` bytes; `memory_bytes` to a `size_t`.
 */
edgeprune_status edgeprune_memory_bytes(const uint8_t *package, size_t package_bytes, size_t *memory_bytes);

/*
 Opens a package in memory of at least `edgeprune_memory_bytes`, and writes the session's address to `session`.

 The memory starts at a multiple of 64 bytes. Package and memory stay where they are and belong to the session as long
 as it is used; a package packed to be read in place starts at a multiple of 64 bytes too. The whole package is checked: no bytes can make a later call do harm.

 # Safety
 `package` points to `package_bytes` bytes that do not change, `memory` to `memory_bytes` bytes that nothing else
 uses, `session` to a pointer.
 */
edgeprune_status edgeprune_open(const uint8_t *package,
                                size_t package_bytes,
                                uint8_t *memory,
                                size_t memory_bytes,
                                edgeprune_session **session);

/*
 Says what an input is.

 # Safety
 `session` is from `edgeprune_open`, `info` points to an `edgeprune_port`.
 */
edgeprune_status edgeprune_input_info(const edgeprune_session *session, size_t index, edgeprune_port *info);

/*
 Says what an output is.

 # Safety
 As `edgeprune_input_info`.
 */
edgeprune_status edgeprune_output_info(const edgeprune_session *session, size_t index, edgeprune_port *info);

/*
 Writes where an input's elements are to `data`, and how many bytes they have to `bytes`. Fill them before each run:
 a run may overwrite them.

 # Safety
 `session` is from `edgeprune_open`, `data` points to a pointer, `bytes` to a `size_t`. The elements may be
 written until the next call on the session.
 */
edgeprune_status edgeprune_input(edgeprune_session *session, size_t index, uint8_t **data, size_t *bytes);

/*
 Sets an input from real values, height, width, channels, quantizing them where the network wants codes.

 # Safety
 `session` is from `edgeprune_open`, `values` points to `count` floats.
 */
edgeprune_status edgeprune_set_input_f32(edgeprune_session *session, size_t index, const float *values, size_t count);

/*
 Runs the network.

 # Safety
 `session` is from `edgeprune_open`.
 */
edgeprune_status edgeprune_run(edgeprune_session *session);

/*
 Writes where an output's elements are to `data`, and how many bytes they have to `bytes`.

 # Safety
 `session` is from `edgeprune_open`, `data` points to a pointer, `bytes` to a `size_t`. The elements may be read
 until the next call on the session.
 */
edgeprune_status edgeprune_output(edgeprune_session *session, size_t index, const uint8_t **data, size_t *bytes);

/*
 Writes an output's real values to `values`.

 # Safety
 `session` is from `edgeprune_open`, `values` points to `count` floats.
 */
edgeprune_status edgeprune_output_f32(edgeprune_session *session, size_t index, float *values, size_t count);

/*
 A status in English; also for a number that is none.
 */
const char *edgeprune_status_text(int status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EDGEPRUNE_H */
