//! What a board file and a toolchain file say.

use crate::catalogue::toolchain;
use serde::{Deserialize, Serialize};

/// A board: its processor, memory, and how to build for it and emulate it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Short name in lower case, digits and hyphens.
    pub id: String,
    /// Other names that people type.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The maker's name.
    pub name: String,
    /// System on chip.
    pub soc: String,
    /// Memory sizes that are sold, in MiB, ascending.
    pub ram_mib: Vec<u32>,
    /// Most megabytes (10^6) a second between memory and processor, where the maker tells.
    #[serde(default)]
    pub memory_mb_per_second: Option<u32>,
    /// Processor.
    pub cpu: Cpu,
    /// How to compile for it.
    pub build: Build,
    /// How to emulate its core.
    pub emulator: Emulator,
    /// What programs without an operating system need; nothing for boards with one.
    pub bare: Option<Bare>,
}

/// A processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Arm's name of the core, in lower case.
    pub core: String,
    /// Number of cores.
    pub cores: u8,
    /// Highest clock of the shipped configuration.
    pub clock_mhz: u32,
    /// Extensions that the silicon has. What is not listed is never used.
    pub features: Vec<Feature>,
    /// Most int8 multiply-accumulates that one core can do in a cycle.
    pub int8_macs_per_cycle: u32,
    /// Caches.
    pub cache: Cache,
}

/// Caches, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Level 1, instructions, per core.
    pub l1i_kib: u32,
    /// Level 1, data, per core.
    pub l1d_kib: u32,
    /// Level 2.
    pub l2_kib: u32,
    /// Whether all cores share one level 2.
    pub l2_shared: bool,
    /// Level 3, shared; 0 where there is none.
    #[serde(default)]
    pub l3_kib: u32,
}

/// An extension of the instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// 128-bit SIMD.
    Neon,
    /// AES and SHA-2 instructions. Optional in cores up to the Cortex-A72, which compilers take for granted.
    Crypto,
    /// `SDOT`, `UDOT`.
    Dotprod,
    /// Half-precision arithmetic.
    Fp16,
    /// `SMMLA`.
    I8mm,
}

impl Feature {
    const ALL: [Self; 5] = [
        Self::Neon,
        Self::Crypto,
        Self::Dotprod,
        Self::Fp16,
        Self::I8mm,
    ];

    /// Linux's names of this feature in `/proc/cpuinfo`, on 64-bit and on 32-bit systems.
    fn linux_names(self) -> &'static [&'static str] {
        match self {
            Self::Neon => &["asimd", "neon"],
            Self::Crypto => &["aes"],
            Self::Dotprod => &["asimddp"],
            Self::Fp16 => &["asimdhp"],
            Self::I8mm => &["i8mm"],
        }
    }

    /// The compiler's names of this feature.
    fn rustc_names(self) -> &'static [&'static str] {
        match self {
            Self::Neon => &["neon"],
            Self::Crypto => &["aes", "sha2"],
            Self::Dotprod => &["dotprod"],
            Self::Fp16 => &["fp16"],
            Self::I8mm => &["i8mm"],
        }
    }
}

/// How to compile for a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The compiler's target; a [`Toolchain`] of that triple must exist.
    pub triple: String,
    /// `-C target-cpu`.
    pub target_cpu: String,
}

/// How to emulate a board's core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// `-cpu` of QEMU's user mode.
    pub cpu: String,
}

/// What programs without an operating system need to know of a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bare {
    /// Cargo's feature of the program, with the board's addresses.
    pub feature: String,
    /// `-M` of QEMU's system mode; nothing where no machine stands in for the board.
    pub machine: Option<String>,
    /// `-m` of QEMU's system mode.
    #[serde(default)]
    pub memory_mib: u32,
}

/// What programs without an operating system need to know of a toolchain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BareToolchain {
    /// Makes an image of a program.
    pub objcopy: String,
    /// Flags for the compiler.
    pub flags: Vec<String>,
}

/// A target whose static programs are smaller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Small {
    /// The compiler's target.
    pub triple: String,
    /// Linker, part of the compiler or a program.
    pub linker: String,
}

/// Programs and packages that building and emulating for one triple needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// The compiler's target.
    pub triple: String,
    /// Cross linker, a C compiler driver where there is an operating system.
    pub linker: String,
    /// The same processor with a smaller C library, preferred where the compiler has its standard library.
    pub small: Option<Small>,
    /// Emulator: of single programs, or of whole machines without an operating system.
    pub emulator: String,
    /// Debian's names.
    pub debian: Debian,
    /// For programs without an operating system.
    pub bare: Option<BareToolchain>,
}

/// Debian's names for what a toolchain needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Architecture, for `dpkg --add-architecture`.
    pub arch: String,
    /// Packages with a compiler and the standard library for `arch`, of the same version.
    pub rust: Vec<String>,
    /// Packages with the cross linker and the C library.
    pub cross: Vec<String>,
    /// Packages with the emulator.
    pub emulator: Vec<String>,
}

/// Why a file is not a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// Not TOML, a field that is missing, unknown or of the wrong type.
    #[error("not a board file: {0}")]
    Toml(#[from] toml::de::Error),
    /// A field whose value makes no sense.
    #[error("board `{board}`: field `{field}` {cause}")]
    Field {
        /// The board's id.
        board: String,
        /// The field's path in the file.
        field: &'static str,
        /// What is wrong.
        cause: String,
    },
}

impl Board {
    /// Reads and checks one board file.
    ///
    /// # Errors
    /// Text that is not TOML, fields that are missing or unknown, values that make no sense.
    pub fn from_toml(text: &str) -> Result<Self, BoardError> {
        let board: Self = toml::from_str(text)?;
        board.check()?;
        Ok(board)
    }

    /// Most int8 multiply-accumulates a second of one core at its highest clock.
    pub fn peak_int8_macs_per_second(&self) -> f64 {
        f64::from(self.cpu.int8_macs_per_cycle) * f64::from(self.cpu.clock_mhz) * 1e6
    }

    /// Most bytes a second between memory and processor, where that is known.
    pub fn memory_bytes_per_second(&self) -> Option<f64> {
        Some(f64::from(self.memory_mb_per_second?) * 1e6)
    }

    /// The linker, emulator and packages of this board's triple. A board that [`Self::from_toml`]
    /// has read has one.
    pub fn toolchain(&self) -> Option<&'static Toolchain> {
        toolchain(&self.build.triple)
    }

    /// Whether its programs are 64-bit.
    pub fn is_64_bit(&self) -> bool {
        self.build.triple.starts_with("aarch64-")
    }

    /// Whether `name` is the id or an alias.
    pub fn answers_to(&self, name: &str) -> bool {
        self.id == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Flags for the compiler: the core to schedule for, without the extensions that this silicon
    /// lacks. Compilers take the cryptography extension of a Cortex-A53 or A72 for granted, and
    /// code built that way dies on a Raspberry Pi 3 or 4. For 32-bit ARM they take nothing for granted.
    pub fn codegen_flags(&self) -> Vec<String> {
        let is_64_bit = self.is_64_bit();
        let absent: Vec<String> = Feature::ALL
            .into_iter()
            .filter(|feature| is_64_bit && !self.cpu.features.contains(feature))
            .flat_map(Feature::rustc_names)
            .map(|name| format!("-{name}"))
            .collect();
        let mut flags = vec![format!("-Ctarget-cpu={}", self.build.target_cpu)];
        if !absent.is_empty() {
            flags.push(format!("-Ctarget-feature={}", absent.join(",")));
        }
        flags
    }

    /// The runtime's fastest set of kernels that the processor can run.
    pub fn kernels(&self) -> &'static str {
        let has = |feature| self.cpu.features.contains(&feature);
        match self.build.triple.split('-').next() {
            Some("aarch64") if has(Feature::I8mm) => "neoni8mm",
            Some("aarch64") if has(Feature::Dotprod) => "neondot",
            Some("aarch64") => "neon",
            Some("armv7") if has(Feature::Neon) => "neon32",
            _ => "portable",
        }
    }

    /// Why a machine cannot run programs for this board: its architecture as `uname -m` names it, or a feature that is
    /// not among those of its `/proc/cpuinfo`. Nothing where it can.
    pub fn unfit(&self, architecture: &str, features: &[&str]) -> Option<String> {
        let runs: &[&str] = match self.build.triple.split('-').next() {
            Some("armv7") => &["armv7l", "armv8l", "aarch64"],
            _ => &["aarch64"],
        };
        if !runs.contains(&architecture) {
            return Some(format!("its processor is {architecture}, not {}", runs[0]));
        }
        let has = |feature: &Feature| feature.linux_names().iter().any(|n| features.contains(n));
        let missing = self.cpu.features.iter().find(|feature| !has(feature))?;
        let names = missing.linux_names()[0];
        Some(format!(
            "its processor lacks `{names}`, which {} has",
            self.name
        ))
    }

    fn check(&self) -> Result<(), BoardError> {
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+".contains(c))
        };
        let ascending = self.ram_mib.windows(2).all(|pair| pair[0] < pair[1]);
        let known = toolchain(&self.build.triple).is_some();
        let rules: [(bool, &'static str, &str); 13] = [
            (
                word(&self.id),
                "id",
                "must be lower-case letters, digits and hyphens",
            ),
            (
                self.aliases.iter().all(|a| word(a)),
                "aliases",
                "must be lower-case letters, digits, hyphens and +",
            ),
            (!self.name.trim().is_empty(), "name", "is empty"),
            (
                !self.ram_mib.is_empty() && ascending && self.ram_mib[0] > 0,
                "ram_mib",
                "must list sizes in MiB, ascending",
            ),
            (
                word(&self.cpu.core),
                "cpu.core",
                "must be a core such as \"cortex-a72\"",
            ),
            (self.cpu.cores > 0, "cpu.cores", "must be at least 1"),
            (
                (1..=10_000).contains(&self.cpu.clock_mhz),
                "cpu.clock_mhz",
                "must be a clock in MHz",
            ),
            (
                self.cpu.features.contains(&Feature::Neon),
                "cpu.features",
                "must list \"neon\": the runtime needs it on this architecture",
            ),
            (
                self.cpu.int8_macs_per_cycle > 0,
                "cpu.int8_macs_per_cycle",
                "must be at least 1",
            ),
            (
                self.cpu.cache.l1d_kib > 0 && self.cpu.cache.l1i_kib > 0,
                "cpu.cache",
                "must have a level 1",
            ),
            (known, "build.triple", "has no toolchain file"),
            (
                self.bare.is_some() == self.toolchain().is_some_and(|tools| tools.bare.is_some()),
                "bare",
                "must be there for a triple without an operating system, and for no other",
            ),
            (
                self.bare
                    .as_ref()
                    .is_none_or(|bare| bare.machine.is_none() || bare.memory_mib > 0),
                "bare.memory_mib",
                "must be the memory of the emulated machine",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, field, cause)) => Err(BoardError::Field {
                board: self.id.clone(),
                field,
                cause: cause.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../rpi-4b.toml");

    fn refusal(from: &str, to: &str) -> String {
        assert!(FILE.contains(from), "{from}");
        match Board::from_toml(&FILE.replace(from, to)) {
            Ok(_) => String::from("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_users_file_is_checked_field_by_field() {
        assert!(refusal("cores = 4", "cores = 0").contains("cpu.cores"));
        assert!(refusal("[\"neon\"]", "[]").contains("cpu.features"));
        assert!(refusal("linux-gnu", "plan9").contains("build.triple"));
        assert!(refusal("linux-gnu", "none").contains("`bare`"));
        assert!(refusal("rpi-4b\"", "Rpi 4\"").contains("`id`"));
        assert!(refusal("[1024, 2048", "[2048, 1024").contains("ram_mib"));
    }

    #[test]
    fn a_board_runs_the_kernels_of_its_extensions() -> Result<(), BoardError> {
        for (features, kernels) in [
            ("[\"neon\"]", "neon"),
            ("[\"neon\", \"dotprod\"]", "neondot"),
            ("[\"neon\", \"dotprod\", \"i8mm\"]", "neoni8mm"),
        ] {
            let board = Board::from_toml(&FILE.replace("[\"neon\"]", features))?;
            assert_eq!(board.kernels(), kernels);
        }
        Ok(())
    }

    #[test]
    fn a_machine_without_a_boards_features_is_unfit_for_it() -> Result<(), BoardError> {
        let plain = Board::from_toml(FILE)?;
        let dotprod = FILE.replace("[\"neon\"]", "[\"neon\", \"dotprod\"]");
        let dotprod = Board::from_toml(&dotprod)?;
        assert_eq!(plain.unfit("aarch64", &["fp", "asimd"]), None);
        assert_eq!(dotprod.unfit("aarch64", &["asimd", "asimddp"]), None);
        let unfit = dotprod.unfit("aarch64", &["fp", "asimd"]);
        assert!(unfit.is_some_and(|cause| cause.contains("asimddp")));
        let unfit = plain.unfit("x86_64", &["avx2"]);
        assert!(unfit.is_some_and(|cause| cause.contains("x86_64")));
        Ok(())
    }

    #[test]
    fn a_misspelt_field_is_named() {
        assert!(refusal("clock_mhz", "clock_ghz").contains("clock_ghz"));
    }

    #[test]
    fn code_for_cores_without_cryptography_never_contains_it() -> Result<(), BoardError> {
        let flags = Board::from_toml(FILE)?.codegen_flags();
        assert_eq!(
            flags,
            [
                "-Ctarget-cpu=cortex-a72",
                "-Ctarget-feature=-aes,-sha2,-dotprod,-fp16,-i8mm"
            ]
        );
        Ok(())
    }
}
