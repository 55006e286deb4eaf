//! What was typed. Few enough words to need no parser.

#[cfg(feature = "serve")]
mod serve;

use edgeprune_device::BenchOptions;
#[cfg(feature = "serve")]
use edgeprune_device::ServeOptions;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: edgeprune-device JOB [MODEL.epk] [OPTIONS]

The package may be left out where this program contains one. Its file is copied to memory; --map reads
it where it lies, which takes no memory for it, and ends this program if the file is cut meanwhile:
for packages on read-only media.

  info                                    what the package is
  bench  [--runs N] [--warm-up N]         how long an inference takes
         [--threads N]                    on 1 thread, or on more that share large layers
         [--duration SECONDS]             for that long, whatever --runs says
         [--deadline MICROSECONDS]        counts inferences that take longer
  run    --input FILE.. [--output FILE..] run samples: .npy holds real values (NHWC), any other
                                          file the bytes of the network's own inputs and outputs
  layers --input FILE.. [--sample N]      run one sample: a digest of every layer's output
  repeat [--runs N] [--layers]            run without looking at a clock, to count instructions
";

/// What follows in programs that can serve.
pub(crate) const SERVE_USAGE: &str = match cfg!(feature = "serve") {
    true => {
        "\
  serve  [--socket PATH]                  run samples as they come, from standard input or from clients of
                                          a Unix socket; records are described in targets/README.md
         [--real]                         samples and answers are floats, not the network's own bytes
         [--queue N]                      as many may wait (4); what comes then is dropped and counted
         [--deadline MICROSECONDS]        counts answers that are ready later after their sample
         [--threads N]
         [--telemetry FILE|unix:PATH|-]   frames for `edgeprune monitor`; may be repeated
         [--mqtt mqtt://HOST[:PORT]/TOPIC]  the same, where this program was built with feature mqtt
         [--every SECONDS]                time between them (1)
         [--name NAME]                    this machine's name in them (the host's)
"
    }
    false => "",
};

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) job: Job,
    /// A file, or else the package inside this program.
    pub(crate) package: Option<PathBuf>,
    /// Read it where it lies.
    pub(crate) map: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Info,
    Bench(BenchOptions),
    Run {
        inputs: Vec<PathBuf>,
        outputs: Vec<PathBuf>,
    },
    Layers {
        inputs: Vec<PathBuf>,
        sample: u32,
    },
    Repeat {
        runs: u32,
        layers: bool,
    },
    #[cfg(feature = "serve")]
    Serve(ServeOptions),
}

#[derive(Default)]
struct Typed {
    package: Option<PathBuf>,
    map: bool,
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
    runs: Option<u32>,
    warm_up: Option<u32>,
    layers: bool,
    threads: Option<u32>,
    duration: Option<u32>,
    deadline: Option<u32>,
    sample: u32,
}

impl Arguments {
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let (job, rest) = words.split_first().ok_or("no job")?;
        #[cfg(feature = "serve")]
        if job == "serve" {
            return serve::parse(rest);
        }
        let typed = Typed::parse(rest)?;
        let defaults = BenchOptions::default();
        let runs = typed.runs.unwrap_or(defaults.runs);
        let job = match job.as_str() {
            "info" => Job::Info,
            "bench" => Job::Bench(BenchOptions {
                warm_up: typed.warm_up.unwrap_or(defaults.warm_up),
                runs,
                threads: typed.threads.unwrap_or(defaults.threads),
                duration: typed.duration.map(|time| Duration::from_secs(time.into())),
                deadline: typed
                    .deadline
                    .map(|time| Duration::from_micros(time.into())),
            }),
            "run" | "layers" if typed.inputs.is_empty() => {
                return Err(format!("`{job}` needs --input"));
            }
            "run" => Job::Run {
                inputs: typed.inputs,
                outputs: typed.outputs,
            },
            "layers" => Job::Layers {
                inputs: typed.inputs,
                sample: typed.sample,
            },
            "repeat" => Job::Repeat {
                runs,
                layers: typed.layers,
            },
            "serve" => {
                return Err(
                    "this program was built without `serve`: `edgeprune build --serve`".into(),
                );
            }
            other => return Err(format!("no job is called `{other}`")),
        };
        Ok(Self {
            job,
            package: typed.package,
            map: typed.map,
        })
    }
}

impl Typed {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut typed = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--input" => typed.inputs.push(value()?.into()),
                "--output" => typed.outputs.push(value()?.into()),
                "--runs" => typed.runs = Some(number(word, value()?)?),
                "--warm-up" => typed.warm_up = Some(number(word, value()?)?),
                "--map" => typed.map = true,
                "--layers" => typed.layers = true,
                "--threads" => typed.threads = Some(number(word, value()?)?),
                "--duration" => typed.duration = Some(number(word, value()?)?),
                "--sample" => typed.sample = number(word, value()?)?,
                "--deadline" => typed.deadline = Some(number(word, value()?)?),
                option if option.starts_with("--") => {
                    return Err(format!("no option is called {option}"));
                }
                path if typed.package.is_none() => typed.package = Some(path.into()),
                path => return Err(format!("one package at a time, not also {path}")),
            }
        }
        Ok(typed)
    }
}

fn number(option: &str, text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{option} needs a number, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn a_job_takes_a_package_and_options_in_any_order() {
        let job = Job::Bench(BenchOptions {
            warm_up: 2,
            runs: 9,
            threads: 4,
            duration: Some(Duration::from_secs(60)),
            deadline: Some(Duration::from_micros(50)),
        });
        let expected = Ok(Arguments {
            job,
            package: Some("m.epk".into()),
            map: false,
        });
        assert_eq!(
            parse("bench m.epk --runs 9 --duration 60 --warm-up 2 --deadline 50 --threads 4"),
            expected
        );
        assert_eq!(
            parse("bench --threads 4 --warm-up 2 --deadline 50 --duration 60 --runs 9 m.epk"),
            expected
        );
    }

    #[test]
    fn a_package_is_mapped_on_demand_alone() {
        let is_mapped = |line| parse(line).is_ok_and(|arguments| arguments.map);
        assert!(is_mapped("info m.epk --map") && is_mapped("bench --map m.epk"));
        assert!(!is_mapped("info m.epk"));
    }

    #[test]
    fn bad_usage_is_named() {
        for (line, word) in [
            ("", "job"),
            ("fly", "fly"),
            ("bench --runs", "--runs"),
            ("bench --runs many", "many"),
            ("bench --threads -1", "-1"),
            ("bench --speed 3", "--speed"),
            ("info a.epk b.epk", "b.epk"),
            ("run a.epk", "--input"),
            ("layers a.epk --sample x", "x"),
        ] {
            assert!(
                parse(line).is_err_and(|message| message.contains(word)),
                "{line}"
            );
        }
    }
}
