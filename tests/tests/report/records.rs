//! Records with hostile names, and what the page about them has to show.

use edgeprune::report::Report;
use edgeprune::report::baseline::Baseline;
use edgeprune::report::record::{
    ArenaParts, Bench, BenchLayer, Bucket, Condition, Deadline, Energy, Eval, EvalLayer, Identity,
    Interval, Latency, Machine, OnDevice, Pack, PackLayer, Record, Resident,
};

pub(crate) const LAYERS: usize = 5;
pub(crate) const PACKAGES: usize = 3;
pub(crate) const HOSTILE: &str = "<script>alert('&\"')</script>";

fn identity(package: usize) -> Identity {
    Identity {
        model: format!("net {HOSTILE}"),
        package: format!("{HOSTILE}{package}.epk"),
        package_hash: package.to_string(),
    }
}

fn layer_name(layer: usize) -> String {
    format!("{HOSTILE}.{layer}")
}

pub(crate) fn pack(package: usize) -> Record {
    let layers = (0..LAYERS).map(|layer| PackLayer {
        name: layer_name(layer),
        encoding: HOSTILE.into(),
        bytes: 100 * (layer as u64 + 1),
        bits_per_weight: 4.0,
        density: 0.5,
        kept_float: false,
        blocks: None,
    });
    Record::Pack(Pack {
        identity: identity(package),
        package_bytes: 5000 * (package as u64 + 1),
        source_bytes: Some(100_000),
        arena_bytes: 4096,
        arena: ArenaParts::default(),
        density: 0.5,
        layers: layers.collect(),
        removed_channels: 0,
        expected: None,
        kept_float: Vec::new(),
        loss: None,
        latency: None,
    })
}

pub(crate) fn eval(package: usize) -> Record {
    Record::Eval(Eval {
        identity: identity(package),
        package_bytes: 5000 * (package as u64 + 1),
        samples: 500,
        top1: Some(90.0 + package as f64),
        top5: None,
        agreement: Some(98.0),
        divergence: None,
        sqnr_db: Some(20.0),
        original_top1: Some(92.5),
        original_top5: None,
        layers: vec![EvalLayer {
            name: layer_name(0),
            op: HOSTILE.into(),
            sqnr_db: 9.0,
        }],
    })
}

/// Of a host without sensors, or of an emulated board.
pub(crate) fn bench(package: usize, board: &str, emulated: bool) -> Bench {
    let layers = (0..LAYERS).map(|layer| BenchLayer {
        name: layer_name(layer),
        op: HOSTILE.into(),
        us: 10.0,
        macs: 1000,
        bytes: 500,
        class: HOSTILE.into(),
        kernel: HOSTILE.into(),
        instructions: emulated.then_some(1_000),
    });
    Bench {
        identity: identity(package),
        board: board.into(),
        cpu: HOSTILE.into(),
        emulated,
        runs: 1111,
        threads: 1,
        kernels: HOSTILE.into(),
        cold_us: Some(900.0),
        latency_us: Latency {
            min: 90.0,
            p50: 100.0,
            p90: 120.0,
            p99: 180.0,
            max: Some(400.0),
            mean: Some(105.0),
        },
        instructions_per_inference: emulated.then_some(1_000_000),
        arena_bytes: 4096,
        package_bytes: 5000 * (package as u64 + 1),
        layers: layers.collect(),
        tool: "0.1.0".into(),
        ..Bench::default()
    }
}

pub(crate) const BUCKETS: usize = 4;

/// Of a real board that became hot in a long run: everything that a record can say.
pub(crate) fn long(package: usize) -> Bench {
    let bucket = |i: usize| Bucket {
        from_us: 100.0 * 1.5f64.powi(i as i32),
        count: 10u64.pow((BUCKETS - i) as u32 - 1),
    };
    let hot = Condition {
        clock_mhz: Some(1000),
        temperature_celsius: Some(82.5),
        throttled: Some(0x4_0004),
    };
    let interval = |i: u32| Interval {
        seconds: f64::from(i),
        runs: 100,
        p50_us: 100.0 + 20.0 * f64::from(i),
        max_us: 400.0,
        condition: hot,
    };
    Bench {
        cpu: "cortex-a72".into(),
        peak_int8_macs_per_second: Some(12e9),
        host: Some("pi@pi.local".into()),
        binary_sha256: Some("0123456789abcdef".repeat(4)),
        machine: Some(Machine {
            model: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
            cpu: "cortex-a72".into(),
            cores: 4,
            features: vec![HOSTILE.into()],
            memory_bytes: 4 << 30,
            kernel: "6.6.31".into(),
            system: "Debian".into(),
            governor: Some("ondemand".into()),
            clock_min_mhz: Some(600),
            clock_max_mhz: Some(1500),
        }),
        after: hot,
        histogram: (0..BUCKETS).map(bucket).collect(),
        deadline: Some(Deadline {
            us: 140.0,
            misses: 111,
        }),
        timeline: (1..=8).map(interval).collect(),
        resident: Some(Resident {
            before_bytes: 1_000_000,
            peak_bytes: 1_100_000,
            planned_bytes: 1_004_096,
        }),
        energy: Some(Energy {
            joules_per_inference: 0.00042,
            watts: 4.2,
            readings: 60,
            meter: HOSTILE.into(),
        }),
        on_device: Some(OnDevice {
            samples: 200,
            top1: Some(90.5),
            different: vec![17],
            first_layer: Some(layer_name(3)),
        }),
        ..bench(package, "rpi-4b", false)
    }
}

/// Every package, scored, and measured on a host, an emulated board and a real one.
pub(crate) fn records() -> Vec<Record> {
    let all = (0..PACKAGES).flat_map(|package| {
        [
            pack(package),
            eval(package),
            Record::Bench(bench(package, "host", false)),
            Record::Bench(bench(package, HOSTILE, true)),
            Record::Bench(long(package)),
        ]
    });
    all.collect()
}

/// The first package before it became slower by 20 %.
pub(crate) fn baseline() -> Baseline {
    let mut fast = long(0);
    fast.latency_us.p50 /= 1.2;
    Baseline::new(Report::join(vec![Record::Bench(fast)]), Baseline::NOISE)
}

/// Bars, columns, points and lines of the page about [`records`].
pub(crate) const BARS: usize = {
    let by_layer = LAYERS * PACKAGES;
    let boards = 3;
    by_layer + boards * PACKAGES + boards * by_layer
};
pub(crate) const COLUMNS: usize = BUCKETS * PACKAGES;
pub(crate) const POINTS: usize = {
    let boards_with_a_rate = 2;
    PACKAGES + boards_with_a_rate * LAYERS * PACKAGES
};
pub(crate) const LINES: usize = {
    let quantities = 4;
    quantities * PACKAGES
};
