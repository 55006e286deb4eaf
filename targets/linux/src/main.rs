//! `edgeprune-device`: runs, checks and measures a package on a Linux board. Results are JSON on
//! stdout. Exit code 0 is success, 1 a failed job, 2 bad usage.

mod arguments;

use arguments::{Arguments, Job};
use edgeprune_device::{Error, Machine, bench, layers, repeat, run};
use edgeprune_runtime::Package;
use memmap2::Mmap;
use serde::Serialize;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

/// The package that was there when this program was built; empty if there was none.
static EMBEDDED: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/package.epk")));

/// Puts bytes where the package format wants them.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) if arguments.package.is_some() || !EMBEDDED.0.is_empty() => arguments,
        Ok(_) => return bad_usage("no package, and this program contains none"),
        Err(message) => return bad_usage(&message),
    };
    let package = arguments.package.as_deref();
    match with_package(package, |bytes| work(&arguments, bytes)) {
        Ok(text) => {
            match arguments.job {
                #[cfg(feature = "serve")]
                Job::Serve(_) => eprintln!("{text}"), // stdout may be that of answers
                _ => println!("{text}"),
            }
            ExitCode::SUCCESS
        }
        Err(error @ (Error::Open(_) | Error::Session(_))) => {
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

/// Memory of a file or of this program.
fn with_package<T>(
    path: Option<&Path>,
    work: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    };
    let Some(path) = path else {
        return work(&EMBEDDED.0);
    };
    let file = File::open(path).map_err(io(path))?;
    #[expect(unsafe_code, reason = "a mapped file can change under the map")]
    // SAFETY: the map is private and read-only. The runtime checks the package's hash and every
    // bound before it runs, and takes bounds from what it has copied, so that bytes which another
    // process changes later can change results but no address.
    let map = unsafe { Mmap::map(&file) }.map_err(io(path))?;
    work(&map)
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
