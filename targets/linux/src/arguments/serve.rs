//! What was typed behind `serve`.

use super::{Arguments, Job, number};
use edgeprune_device::{Outlet, ServeOptions};
use std::time::Duration;

/// The package, if one is named, and how to serve it.
pub(super) fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut options = ServeOptions::default();
    let (mut package, mut map) = (None, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--socket" => options.socket = Some(value()?.into()),
            "--map" => map = true,
            "--real" => options.real = true,
            "--queue" => options.queue = positive(word, value()?)?,
            "--threads" => options.threads = number(word, value()?)?,
            "--deadline" => {
                let microseconds = number(word, value()?)?;
                options.deadline = Some(Duration::from_micros(microseconds.into()));
            }
            "--name" => options.name = Some(value()?.clone()),
            "--every" => options.every = period(value()?)?,
            "--telemetry" => options.telemetry.push(outlet(value()?)),
            "--mqtt" => options.telemetry.push(Outlet::Mqtt(value()?.parse()?)),
            option if option.starts_with("--") => {
                return Err(format!("`serve` has no option {option}"));
            }
            path if package.is_none() => package = Some(path.into()),
            path => return Err(format!("one package at a time, not also {path}")),
        }
    }
    if options.socket.is_none() && options.telemetry.contains(&Outlet::Stdout) {
        return Err("answers go to standard output: `--telemetry -` needs --socket".into());
    }
    let job = Job::Serve(options);
    Ok(Arguments { job, package, map })
}

fn outlet(text: &str) -> Outlet {
    match text.strip_prefix("unix:") {
        Some(path) => Outlet::Unix(path.into()),
        None if text == "-" => Outlet::Stdout,
        None => Outlet::File(text.into()),
    }
}

fn positive(option: &str, text: &str) -> Result<u32, String> {
    match number(option, text)? {
        0 => Err(format!("{option} needs at least 1")),
        number => Ok(number),
    }
}

/// At least a hundredth of a second, at most a day.
fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.01..=86_400.0).contains(s));
    let seconds =
        seconds.ok_or_else(|| format!("--every needs 0.01 to 86400 seconds, not `{text}`"))?;
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn every_option_is_taken() -> Result<(), String> {
        let typed = parsed(
            "m.epk --map --socket s --real --queue 9 --threads 2 --deadline 50 --name n --every 0.5 --telemetry t --telemetry unix:u --telemetry - --mqtt mqtt://h/t",
        )?;
        let expected = ServeOptions {
            socket: Some("s".into()),
            real: true,
            queue: 9,
            threads: 2,
            deadline: Some(Duration::from_micros(50)),
            name: Some("n".into()),
            every: Duration::from_millis(500),
            telemetry: vec![
                Outlet::File("t".into()),
                Outlet::Unix("u".into()),
                Outlet::Stdout,
                Outlet::Mqtt("mqtt://h/t".parse()?),
            ],
        };
        let expected = Arguments {
            job: Job::Serve(expected),
            package: Some("m.epk".into()),
            map: true,
        };
        assert_eq!(typed, expected);
        Ok(())
    }

    #[test]
    fn bad_usage_is_named() {
        for (line, word) in [
            ("--queue 0", "--queue"),
            ("--every 0", "--every"),
            ("--every soon", "soon"),
            ("--telemetry -", "--socket"),
            ("--mqtt host", "mqtt://"),
            ("--runs 3", "--runs"),
            ("a.epk b.epk", "b.epk"),
            ("--socket", "--socket"),
        ] {
            assert!(
                parsed(line).is_err_and(|message| message.contains(word)),
                "{line}"
            );
        }
    }
}
