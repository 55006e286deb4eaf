//! `edgeprune-device`: runs, checks and measures a package on a Linux board. Results are JSON on
//! stdout. Exit code 0 is success, 1 a failed job, 2 bad usage.

mod arguments;

use arguments::{Arguments, Job};
use edgeprune_device::{Error, Machine, bench, layers, repeat, run};
use edgeprune_runtime::{Arena, Package};
use memmap2::Mmap;
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// The package that was there when this program was built; empty if there was none.
static EMBEDDED: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/package.epk")));

/// Puts bytes where the package format wants them.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.into_string());
    let words: Result<Vec<String>, _> = words.collect();
    let not_text = |word: std::ffi::OsString| format!("not UTF-8: {}", word.display());
    let arguments = match words
        .map_err(not_text)
        .and_then(|words| Arguments::parse(&words))
    {
        Ok(arguments) if arguments.package.is_some() || !EMBEDDED.0.is_empty() => arguments,
        Ok(_) => return bad_usage("no package, and this program contains none"),
        Err(message) => return bad_usage(&message),
    };
    let package = arguments.package.as_deref();
    let result = match (package, arguments.map) {
        (None, _) => work(&arguments, &EMBEDDED.0),
        (Some(path), false) => copied(path).and_then(|bytes| work(&arguments, bytes.bytes())),
        (Some(path), true) => mapped(path).and_then(|bytes| work(&arguments, &bytes)),
    };
    match result {
        Ok(text) => {
            match arguments.job {
                #[cfg(feature = "serve")]
                Job::Serve(_) => eprintln!("{text}"), // stdout may be that of answers
                _ => println!("{text}"),
            }
            ExitCode::SUCCESS
        }
        Err(error @ (Error::Open(_) | Error::Session(_) | Error::Memory { .. })) => {
            let name = package.unwrap_or(Path::new("the package inside this program"));
            failure(&format!("{}: {error}", name.display()))
        }
        Err(error) => failure(&error.to_string()),
    }
}

fn bad_usage(message: &str) -> ExitCode {
    eprint!(
        "error: {message}\n\n{}{}",
        arguments::USAGE,
        arguments::SERVE_USAGE
    );
    ExitCode::from(2)
}

fn failure(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}

fn work(arguments: &Arguments, package: &[u8]) -> Result<String, Error> {
    match &arguments.job {
        Job::Bench(options) => Ok(json(&bench(package, *options)?)),
        Job::Run { inputs, outputs } => Ok(json(&run(package, inputs, outputs)?)),
        Job::Layers { inputs, sample } => Ok(json(&layers(package, inputs, *sample as usize)?)),
        Job::Repeat { runs, layers } => repeat(package, *runs, *layers),
        #[cfg(feature = "serve")]
        Job::Serve(options) => {
            edgeprune_device::serve(package, options).map(|served| served.to_string())
        }
        Job::Info => info(package),
    }
}

/// A copy of a file, aligned as packages are: whoever writes to the file, or cuts it, does not change what runs.
fn copied(path: &Path) -> Result<Arena, Error> {
    let mut file = File::open(path).map_err(io(path))?;
    let bytes = file.metadata().map_err(io(path))?.len();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let what = "a copy of the package";
    let mut copy = Arena::try_new(bytes).ok_or(Error::Memory { what, bytes })?;
    file.read_exact(copy.bytes_mut()).map_err(io(path))?;
    Ok(copy)
}

/// A file where it lies. It must not change: see `--map` in the usage.
fn mapped(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(io(path))?;
    #[expect(unsafe_code, reason = "a mapped file can change under the map")]
    // SAFETY: the map is private and read-only. The runtime checks the package's hash and every
    // bound before it runs, and takes bounds from what it has copied, so that bytes which another
    // process changes later can change results but no address. Who asks for a map promises that the
    // file is not cut.
    unsafe { Mmap::map(&file) }.map_err(io(path))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::Io {
        path: path.to_path_buf(),
        source,
    }
}

#[derive(Serialize)]
struct Info<'a> {
    model: &'a str,
    tool: &'a str,
    package_bytes: usize,
    arena_bytes: usize,
    nodes: u16,
    inputs: Vec<PortInfo<'a>>,
    outputs: Vec<PortInfo<'a>>,
    machine: Machine,
}

#[derive(Serialize)]
struct PortInfo<'a> {
    name: &'a str,
    shape: [u32; 4],
}

fn info(bytes: &[u8]) -> Result<String, Error> {
    let package = Package::open(bytes)?;
    let head = &package.manifest().head;
    Ok(json(&Info {
        model: head.model,
        tool: head.tool,
        package_bytes: bytes.len(),
        arena_bytes: package.arena_bytes(),
        nodes: head.counts.nodes,
        inputs: ports(head.counts.inputs, |index| package.input_info(index)),
        outputs: ports(head.counts.outputs, |index| package.output_info(index)),
        machine: Machine::read(),
    }))
}

fn ports<'a>(
    count: u16,
    port: impl Fn(usize) -> Option<edgeprune_runtime::Port<'a>>,
) -> Vec<PortInfo<'a>> {
    (0..usize::from(count))
        .filter_map(port)
        .map(|port| PortInfo {
            name: port.name,
            shape: port.shape,
        })
        .collect()
}

/// Reports have string keys and finite numbers only, which always have a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
