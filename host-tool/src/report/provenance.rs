//! What a measurement was made on, in what condition and with what.

use super::doubts::throttled;
use super::record::{Bench, Condition, Machine};
use super::run::{HASH_DIGITS, binary};

/// A property of a measurement, if it is known.
type Property = fn(&Bench) -> Option<String>;

/// Titles and properties, in the order of the table.
pub(super) fn provenance() -> [(&'static str, Property); 25] {
    [
        ("board", |b| Some(b.place())),
        ("model", model),
        ("processor", |b| named(&b.cpu)),
        ("cores", |b| of(b, |m| Some(m.cores.to_string()))),
        ("extensions", |b| of(b, |m| named(&m.features.join(" ")))),
        ("memory", |b| of(b, |m| Some(gibibytes(m.memory_bytes)))),
        ("kernel", |b| of(b, |m| named(&m.kernel))),
        ("system", |b| of(b, |m| named(&m.system))),
        ("governor", |b| of(b, |m| m.governor.clone())),
        ("clock may be", |b| of(b, clocks)),
        ("clock, before and after", |b| {
            around(b, |c| Some(format!("{} MHz", c.clock_mhz?)))
        }),
        ("temperature, before and after", |b| {
            around(b, |c| Some(format!("{:.1} °C", c.temperature_celsius?)))
        }),
        ("firmware, before and after", |b| {
            around(b, |c| Some(throttled(c.throttled?)))
        }),
        ("reached by ssh at", |b| b.host.clone()),
        ("package", |b| named(&b.identity.package)),
        ("package hash", |b| named(&short(&b.identity.package_hash))),
        ("package size", |b| {
            Some(format!("{} bytes", b.package_bytes))
        }),
        ("kernels", |b| named(&b.kernels)),
        ("threads", |b| Some(b.threads.to_string())),
        ("warm-up", |b| Some(b.warm_up.to_string())),
        ("inferences", |b| Some(b.runs.to_string())),
        ("edgeprune", |b| named(&b.tool)),
        ("device binary", binary),
        ("output hash", |b| named(&short(&b.output_sha256))),
        ("in doubt", |b| named(&b.doubts().join("; "))),
    ]
}

fn real(bench: &Bench) -> Option<&Bench> {
    (!bench.emulated).then_some(bench)
}

fn named(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Memory, as it is sold: in powers of two.
fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

fn short(hash: &str) -> String {
    hash.chars().take(HASH_DIGITS).collect()
}

/// As the firmware names it, else as boards are sold.
fn model(bench: &Bench) -> Option<String> {
    let sold = || {
        let board = edgeprune_boards::find(&bench.board).ok()?;
        Some(board.name.clone())
    };
    of(bench, |machine| machine.model.clone()).or_else(sold)
}

fn of(bench: &Bench, property: impl FnOnce(&Machine) -> Option<String>) -> Option<String> {
    property(bench.machine.as_ref()?)
}

fn clocks(machine: &Machine) -> Option<String> {
    let (least, most) = (machine.clock_min_mhz?, machine.clock_max_mhz?);
    Some(format!("{least} to {most} MHz"))
}

fn around(bench: &Bench, property: impl Fn(&Condition) -> Option<String>) -> Option<String> {
    let bench = real(bench)?;
    match [&bench.before, &bench.after].map(property) {
        [Some(before), Some(after)] if before == after => Some(after),
        [Some(before), Some(after)] => Some(format!("{before}, then {after}")),
        [_, after] => after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::Record;
    use crate::report::tests::bench_of;

    fn property(title: &str, change: fn(&mut Bench)) -> Option<String> {
        let Record::Bench(bench) = bench_of("a", "1", change) else {
            unreachable!("it is one")
        };
        let all = provenance();
        let (_, property) = all.iter().find(|(name, _)| *name == title).unwrap();
        property(&bench)
    }

    #[test]
    fn conditions_are_told_from_before_to_after() {
        let heat = |b: &mut Bench| {
            b.before.temperature_celsius = Some(50.0);
            b.after.temperature_celsius = Some(61.25);
            b.after.throttled = Some(0x5_0005);
        };
        let of = |title| property(title, heat);
        assert_eq!(
            of("temperature, before and after").as_deref(),
            Some("50.0 °C, then 61.2 °C")
        );
        assert_eq!(
            of("firmware, before and after").as_deref(),
            Some("under-voltage, throttling now")
        );
        assert_eq!(of("clock, before and after"), None);
    }

    #[test]
    fn what_an_emulator_shows_of_its_host_is_not_the_boards() {
        let emulated = |b: &mut Bench| {
            b.emulated = true;
            b.after.temperature_celsius = Some(90.0);
        };
        assert_eq!(property("temperature, before and after", emulated), None);
        assert_eq!(property("in doubt", emulated), None);
        assert_eq!(
            property("model", emulated).as_deref(),
            Some("Raspberry Pi 4 Model B")
        );
    }
}
