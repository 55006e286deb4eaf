//! The device runtime for C and C++: open, fill the inputs, run, read the outputs, in memory of the caller.
//!
//! The header is `include/edgeprune.h`, a whole program `example/classify.c`. Nothing is allocated, and a session needs
//! no closing: when its memory is used for something else, it is gone.
//!
//! ```sh
//! cargo build --release -p edgeprune-c # target/release/libedgeprune_c.a
//! cc example/classify.c -Iinclude ../../target/release/libedgeprune_c.a -lm -o classify
//! ```
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![expect(
    unsafe_code,
    reason = "C passes addresses: what they must point to is said at each function"
)]

use core::ffi::{CStr, c_char, c_int};
use core::slice;
use edgeprune_format::ALIGNMENT;
use edgeprune_format::FormatError;
use edgeprune_format::manifest::DType;
use edgeprune_runtime::{
    DEFAULT_NODES, MAX_NODES, OpenError, Package, Port, RunError, Session as Network, SessionError,
};

/// What a call says.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Ok = 0,
    /// An address is null, or not aligned as it must be.
    BadAddress = 1,
    /// The bytes are no package, or a damaged one.
    NotAPackage = 2,
    /// A package that this runtime cannot run: of another version, or with an operator that was left out.
    Unsupported = 3,
    /// The memory is shorter than `edgeprune_memory_bytes` says.
    MemoryTooShort = 4,
    /// The network has no input or output of that index.
    NoSuchPort = 5,
    /// The array has another number of elements than the input or output.
    WrongLength = 6,
}

/// How elements are stored.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// `float`.
    Float32 = 0,
    /// `int8_t`: `(code - zero_point) * scale` is the real value.
    Int8 = 1,
}

/// An input or output.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PortInfo {
    /// Batch, height, width, channels.
    pub shape: [u32; 4],
    /// Product of the shape.
    pub elements: usize,
    /// How elements are stored.
    pub element_type: ElementType,
    /// Of `int8_t`; else 1.
    pub scale: f32,
    /// Of `int8_t`; else 0.
    pub zero_point: i32,
}

/// A network that is open, in memory of the caller.
pub struct Session {
    package: Package<'static>,
    /// Behind this in the caller's memory.
    network: &'static mut dyn Runs,
}

/// Bytes at the start of the caller's memory for [`Session`]; the network follows, then its arena.
const SESSION_BYTES: usize = size_of::<Session>().next_multiple_of(ALIGNMENT);

/// Bytes of a network with room for that many nodes.
const fn network_bytes<const NODES: usize>() -> usize {
    size_of::<Network<'static, 'static, NODES>>().next_multiple_of(ALIGNMENT)
}

/// Bytes in front of the arena. Only large networks take room for [`MAX_NODES`].
fn bytes_before_arena(package: &Package<'_>) -> usize {
    SESSION_BYTES
        + match is_small(package) {
            true => network_bytes::<DEFAULT_NODES>(),
            false => network_bytes::<MAX_NODES>(),
        }
}

fn is_small(package: &Package<'_>) -> bool {
    usize::from(package.manifest().head.counts.nodes) <= DEFAULT_NODES
}

/// A network with room for any number of nodes.
trait Runs {
    fn input_info(&self, index: usize) -> Result<Port<'static>, RunError>;
    fn output_info(&self, index: usize) -> Result<Port<'static>, RunError>;
    fn input(&mut self, index: usize) -> Result<&mut [u8], RunError>;
    fn set_input_f32(&mut self, index: usize, values: &[f32]) -> Result<(), RunError>;
    fn run(&mut self) -> Result<(), RunError>;
    fn output(&self, index: usize) -> Result<&[u8], RunError>;
    fn output_f32(&self, index: usize, values: &mut [f32]) -> Result<(), RunError>;
}

impl<const NODES: usize> Runs for Network<'static, 'static, NODES> {
    fn input_info(&self, index: usize) -> Result<Port<'static>, RunError> {
        self.input_info(index)
    }

    fn output_info(&self, index: usize) -> Result<Port<'static>, RunError> {
        self.output_info(index)
    }

    fn input(&mut self, index: usize) -> Result<&mut [u8], RunError> {
        self.input(index)
    }

    fn set_input_f32(&mut self, index: usize, values: &[f32]) -> Result<(), RunError> {
        self.set_input_f32(index, values)
    }

    fn run(&mut self) -> Result<(), RunError> {
        self.run(&mut ())
    }

    fn output(&self, index: usize) -> Result<&[u8], RunError> {
        self.output(index)
    }

    fn output_f32(&self, index: usize, values: &mut [f32]) -> Result<(), RunError> {
        self.output_f32(index, values)
    }
}

/// Writes to `memory_bytes` how much memory a session of the package needs on this processor.
///
/// # Safety
/// `package` points to `package_bytes` bytes; `memory_bytes` to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_memory_bytes(
    package: *const u8,
    package_bytes: usize,
    memory_bytes: *mut usize,
) -> Status {
    if memory_bytes.is_null() {
        return Status::BadAddress;
    }
    // SAFETY: what the caller promises of `package`; the bytes are not used after this call.
    let opened = unsafe { open(package, package_bytes) };
    match opened {
        Ok(package) => {
            let need = bytes_before_arena(&package).saturating_add(package.arena_bytes());
            // SAFETY: the caller's, and not null.
            unsafe { memory_bytes.write(need) };
            Status::Ok
        }
        Err(status) => status,
    }
}

/// Opens a package in memory of at least `edgeprune_memory_bytes`, and writes the session's address to `session`.
///
/// The memory starts at a multiple of 64 bytes. Package and memory stay where they are and belong to the session as long
/// as it is used; a package packed to be read in place starts at a multiple of 64 bytes too. The whole package is checked: no bytes can make a later call do harm.
///
/// # Safety
/// `package` points to `package_bytes` bytes that do not change, `memory` to `memory_bytes` bytes that nothing else
/// uses, `session` to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_open(
    package: *const u8,
    package_bytes: usize,
    memory: *mut u8,
    memory_bytes: usize,
    session: *mut *mut Session,
) -> Status {
    if session.is_null() || memory.is_null() || !memory.addr().is_multiple_of(ALIGNMENT) {
        return Status::BadAddress;
    }
    // SAFETY: what the caller promises of `package`.
    let opened = match unsafe { open(package, package_bytes) } {
        Ok(opened) => opened,
        Err(status) => return status,
    };
    let before_arena = bytes_before_arena(&opened);
    let Some(arena_bytes) = memory_bytes.checked_sub(before_arena) else {
        return Status::MemoryTooShort;
    };
    let place = memory.cast::<Session>();
    // SAFETY: the memory is aligned to more than `Session` and `Network` need, long enough, and nothing else uses it: the
    // first `SESSION_BYTES` become the session, the bytes up to `before_arena` its network, the rest its arena. The
    // session is not moved as long as it is used, so that its network may keep the package's address.
    let network = unsafe {
        (&raw mut (*place).package).write(opened);
        let arena = slice::from_raw_parts_mut(memory.add(before_arena), arena_bytes);
        arena.fill(0);
        let (package, room) = (&(*place).package, memory.add(SESSION_BYTES));
        match is_small(package) {
            true => start::<DEFAULT_NODES>(package, room, arena),
            false => start::<MAX_NODES>(package, room, arena),
        }
    };
    match network {
        Ok(network) => {
            // SAFETY: as above; `session` is the caller's, and not null.
            unsafe {
                (&raw mut (*place).network).write(network);
                session.write(place);
            }
            Status::Ok
        }
        Err(error) => session_status(error),
    }
}

/// A network at `room`.
///
/// # Safety
/// `room` points to [`network_bytes`] bytes that nothing else uses, aligned to [`ALIGNMENT`].
unsafe fn start<const NODES: usize>(
    package: &'static Package<'static>,
    room: *mut u8,
    arena: &'static mut [u8],
) -> Result<&'static mut dyn Runs, SessionError> {
    let network = Network::<NODES>::with_capacity(package, arena)?;
    let place = room.cast::<Network<'static, 'static, NODES>>();
    // SAFETY: the caller's promise; what was written is valid, and nothing else refers to it.
    unsafe {
        place.write(network);
        Ok(&mut *place)
    }
}

/// Says what an input is.
///
/// # Safety
/// `session` is from `edgeprune_open`, `info` points to an `edgeprune_port`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_input_info(
    session: *const Session,
    index: usize,
    info: *mut PortInfo,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { describe(session, info, |network| network.input_info(index)) }
}

/// Says what an output is.
///
/// # Safety
/// As `edgeprune_input_info`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_output_info(
    session: *const Session,
    index: usize,
    info: *mut PortInfo,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { describe(session, info, |network| network.output_info(index)) }
}

/// Writes where an input's elements are to `data`, and how many bytes they have to `bytes`. Fill them before each run:
/// a run may overwrite them.
///
/// # Safety
/// `session` is from `edgeprune_open`, `data` points to a pointer, `bytes` to a `size_t`. The elements may be
/// written until the next call on the session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_input(
    session: *mut Session,
    index: usize,
    data: *mut *mut u8,
    bytes: *mut usize,
) -> Status {
    if data.is_null() || bytes.is_null() {
        return Status::BadAddress;
    }
    // SAFETY: the caller's promise; the addresses are not null.
    unsafe {
        on(session, |network| {
            let input = network.input(index)?;
            bytes.write(input.len());
            data.write(input.as_mut_ptr());
            Ok(())
        })
    }
}

/// Sets an input from real values, height, width, channels, quantizing them where the network wants codes.
///
/// # Safety
/// `session` is from `edgeprune_open`, `values` points to `count` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_set_input_f32(
    session: *mut Session,
    index: usize,
    values: *const f32,
    count: usize,
) -> Status {
    if values.is_null() {
        return Status::BadAddress;
    }
    // SAFETY: the caller's promise; the address is not null.
    unsafe {
        let values = slice::from_raw_parts(values, count);
        on(session, |network| network.set_input_f32(index, values))
    }
}

/// Runs the network.
///
/// # Safety
/// `session` is from `edgeprune_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_run(session: *mut Session) -> Status {
    // SAFETY: the caller's promise.
    unsafe { on(session, |network| network.run()) }
}

/// Writes where an output's elements are to `data`, and how many bytes they have to `bytes`.
///
/// # Safety
/// `session` is from `edgeprune_open`, `data` points to a pointer, `bytes` to a `size_t`. The elements may be read
/// until the next call on the session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_output(
    session: *mut Session,
    index: usize,
    data: *mut *const u8,
    bytes: *mut usize,
) -> Status {
    if data.is_null() || bytes.is_null() {
        return Status::BadAddress;
    }
    // SAFETY: the caller's promise; the addresses are not null.
    unsafe {
        on(session, |network| {
            let output = network.output(index)?;
            bytes.write(output.len());
            data.write(output.as_ptr());
            Ok(())
        })
    }
}

/// Writes an output's real values to `values`.
///
/// # Safety
/// `session` is from `edgeprune_open`, `values` points to `count` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgeprune_output_f32(
    session: *mut Session,
    index: usize,
    values: *mut f32,
    count: usize,
) -> Status {
    if values.is_null() {
        return Status::BadAddress;
    }
    // SAFETY: the caller's promise; the address is not null. Floats have no invalid values.
    unsafe {
        let values = slice::from_raw_parts_mut(values, count);
        on(session, |network| network.output_f32(index, values))
    }
}

/// A status in English; also for a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn edgeprune_status_text(status: c_int) -> *const c_char {
    let known = TEXTS.iter().find(|(known, _)| *known as c_int == status);
    known.map_or(c"no status", |(_, text)| text).as_ptr()
}

const TEXTS: [(Status, &CStr); 7] = [
    (Status::Ok, c"done"),
    (
        Status::BadAddress,
        c"an address is null, or the memory starts at no multiple of 64",
    ),
    (Status::NotAPackage, c"not a package, or a damaged one"),
    (
        Status::Unsupported,
        c"this runtime cannot run the package: another version, or an operator that was left out",
    ),
    (
        Status::MemoryTooShort,
        c"the memory is shorter than edgeprune_memory_bytes says",
    ),
    (
        Status::NoSuchPort,
        c"the network has no input or output of that index",
    ),
    (
        Status::WrongLength,
        c"the array has another number of elements than the input or output",
    ),
];

/// # Safety
/// `package` points to `bytes` bytes that do not change as long as the result is used.
unsafe fn open(package: *const u8, bytes: usize) -> Result<Package<'static>, Status> {
    if package.is_null() {
        return Err(Status::BadAddress);
    }
    // SAFETY: the caller's promise; the address is not null.
    let bytes = unsafe { slice::from_raw_parts(package, bytes) };
    Package::open(bytes).map_err(open_status)
}

/// Calls `work` with the session's network.
///
/// # Safety
/// `session` is null or from `edgeprune_open`.
unsafe fn on(
    session: *mut Session,
    work: impl FnOnce(&mut dyn Runs) -> Result<(), RunError>,
) -> Status {
    // SAFETY: a session that was opened has its network.
    let network = unsafe { session.as_mut().map(|s| &mut *s.network) };
    match network.map(work) {
        None => Status::BadAddress,
        Some(Ok(())) => Status::Ok,
        Some(Err(error)) => run_status(error),
    }
}

/// Writes what `port` finds.
///
/// # Safety
/// `session` is null or from `edgeprune_open`, `info` null or an address to write to.
unsafe fn describe(
    session: *const Session,
    info: *mut PortInfo,
    port: impl FnOnce(&dyn Runs) -> Result<Port<'static>, RunError>,
) -> Status {
    // SAFETY: a session that was opened has its network.
    let network = unsafe { session.as_ref().map(|s| &*s.network) };
    match network.map(port) {
        Some(Ok(port)) if !info.is_null() => {
            // SAFETY: the caller's promise; not null.
            unsafe { info.write(PortInfo::of(&port)) };
            Status::Ok
        }
        Some(Err(error)) => run_status(error),
        _ => Status::BadAddress,
    }
}

impl PortInfo {
    fn of(port: &Port<'_>) -> Self {
        let (scale, zero_point) = port.quantization.unwrap_or((1.0, 0));
        Self {
            shape: port.shape,
            elements: port.elements(),
            element_type: match port.dtype {
                DType::I8 => ElementType::Int8,
                _ => ElementType::Float32, // inputs and outputs are one or the other
            },
            scale,
            zero_point: zero_point.into(),
        }
    }
}

fn open_status(error: OpenError) -> Status {
    match error {
        OpenError::Format(FormatError::Version { .. } | FormatError::Flags { .. }) => {
            Status::Unsupported
        }
        OpenError::Format(_) => Status::NotAPackage,
        _ => Status::Unsupported,
    }
}

fn session_status(error: SessionError) -> Status {
    match error {
        SessionError::ArenaTooShort { .. } => Status::MemoryTooShort,
        SessionError::ArenaMisaligned => Status::BadAddress,
        SessionError::Constant { .. } => Status::NotAPackage,
        _ => Status::Unsupported,
    }
}

fn run_status(error: RunError) -> Status {
    match error {
        RunError::NoSuchPort { .. } => Status::NoSuchPort,
        RunError::Length { .. } => Status::WrongLength,
        _ => Status::Unsupported,
    }
}

/// There are no panics; a program without an operating system has to have a handler all the same.
#[cfg(not(any(feature = "std", test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr;

    #[test]
    fn null_is_refused_everywhere() {
        let (null, none) = (ptr::null_mut(), ptr::null_mut());
        let mut bytes = 0;
        let mut data = ptr::null_mut();
        let mut output = ptr::null();
        let mut session = ptr::null_mut();
        let mut floats = [0.0];
        let mut aligned = edgeprune_runtime::Aligned([0; 64]);
        let memory = aligned.0.as_mut_ptr();
        // SAFETY: null is what is tested, all other addresses are those of variables.
        let statuses = unsafe {
            [
                edgeprune_memory_bytes(ptr::null(), 0, &raw mut bytes),
                edgeprune_memory_bytes(memory, 64, ptr::null_mut()),
                edgeprune_open(memory, 64, ptr::null_mut(), 0, &raw mut session),
                edgeprune_open(memory, 64, memory.add(1), 63, &raw mut session),
                edgeprune_open(memory, 64, memory, 64, ptr::null_mut()),
                edgeprune_input(null, 0, &raw mut data, &raw mut bytes),
                edgeprune_output(null, 0, &raw mut output, &raw mut bytes),
                edgeprune_set_input_f32(null, 0, floats.as_ptr(), 1),
                edgeprune_output_f32(null, 0, floats.as_mut_ptr(), 1),
                edgeprune_input_info(null, 0, none),
                edgeprune_output_info(null, 0, none),
                edgeprune_run(null),
            ]
        };
        assert_eq!(statuses, [Status::BadAddress; 12]);
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let bytes = [7u8; 4096];
        let mut need = 0;
        // SAFETY: the addresses are those of variables.
        let status = unsafe { edgeprune_memory_bytes(bytes.as_ptr(), bytes.len(), &raw mut need) };
        assert_eq!((status, need), (Status::NotAPackage, 0));
    }

    #[test]
    fn every_status_has_a_text() {
        let text = |status| {
            // SAFETY: texts are static and end in a zero.
            let text = unsafe { CStr::from_ptr(edgeprune_status_text(status)) };
            text.to_str().unwrap_or_default().to_owned()
        };
        assert_eq!(text(Status::Ok as c_int), "done");
        assert!(text(Status::WrongLength as c_int).contains("elements"));
        assert_eq!(text(99), "no status");
    }
}
