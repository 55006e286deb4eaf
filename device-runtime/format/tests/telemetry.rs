//! Frames on lines that lose, add and change bytes.

use edgeprune_format::telemetry::*;

const LATENCY: Latency = Latency {
    count: 50,
    min: 1_000,
    max: u64::MAX,
    sum: u64::MAX,
    p50: 1_100,
    p90: 1_200,
    p99: 1 << 40,
};

const HELLO: Hello<'_> = Hello {
    model: "resnet8",
    package_hash: [0xab; 32],
    tool: "edgeprune-bare-metal 0.1.0",
    board: "rpi3",
    core: "cortex-a53",
    kernels: "neon",
    ticks_per_second: 19_200_000,
    arena_bytes: 100_000,
    package_bytes: 80_000,
    nodes: 16,
    threads: 1,
};

/// One record of each kind, numbers and hashes with zeros and without.
fn records() -> Vec<Record<'static>> {
    let bucket = |from| Bucket {
        from,
        count: u32::MAX,
    };
    vec![
        Record::Hello(HELLO),
        Record::Run(Run {
            warm_up: 3,
            cold: 0,
            latency: LATENCY,
        }),
        Record::Buckets {
            buckets: (u64::MAX - MAX_BUCKETS as u64..u64::MAX)
                .map(bucket)
                .collect(),
        },
        Record::Layer(Layer {
            index: 300,
            name: "conv",
            op: "conv_2d",
            kernel: "qs8-igemm-6x8c4-neon",
            class: "conv_2d 3x3",
            macs: 1 << 33,
            bytes: 1 << 20,
            latency: LATENCY,
        }),
        Record::Output { sha256: [0; 32] },
        Record::Counters(Counters {
            period: LATENCY,
            millidegrees: Some(-12_500),
            ..Counters::default()
        }),
        Record::Fault {
            text: "the SHA-256 does not match: the file is damaged",
        },
        Record::End,
    ]
}

fn stream(records: &[Record<'_>]) -> Vec<u8> {
    let mut buffer = [0; MAX_FRAME];
    let frames = (0..).zip(records).map(|(sequence, record)| {
        frame(sequence, record, &mut buffer)
            .map(<[u8]>::to_vec)
            .unwrap_or_default()
    });
    frames.collect::<Vec<_>>().concat()
}

/// What a stream holds: records and texts as they are printed.
fn read(decoder: &mut Decoder, bytes: &[u8]) -> Vec<String> {
    let mut seen = Vec::new();
    for &byte in bytes {
        seen.extend(decoder.push(byte).map(shown));
    }
    seen.extend(decoder.finish().map(shown));
    seen
}

fn shown(event: Event<'_>) -> String {
    match event {
        Event::Record { record, .. } => format!("{record:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_record_arrives_as_it_was_sent() {
    let mut decoder = Decoder::new();
    let seen = read(&mut decoder, &stream(&records()));
    let sent: Vec<String> = records()
        .iter()
        .map(|record| format!("{record:?}"))
        .collect();
    assert_eq!(seen, sent);
    let expected = Tally {
        records: 8,
        ..Tally::default()
    };
    assert_eq!(decoder.tally(), expected);
}

#[test]
fn the_bytes_of_a_frame_never_change() -> Result<(), FrameError> {
    let mut buffer = [0; MAX_FRAME];
    let record = Record::Fault { text: "ab" };
    let bytes = frame(300, &record, &mut buffer)?;
    assert_eq!(
        bytes,
        [
            0, 12, 1, 0xac, 2, 6, 2, b'a', b'b', 0x1f, 0x87, 0xb0, 0xd6, 0
        ]
    );
    Ok(())
}

#[test]
fn every_truncation_is_reported_and_the_next_frame_is_read() {
    for record in records() {
        let bytes = stream(&[record]);
        for length in 2..bytes.len() - 1 {
            let mut decoder = Decoder::new();
            let mut cut = bytes[..length].to_vec();
            cut.extend(stream(&[Record::End]));
            let seen = read(&mut decoder, &cut);
            assert_eq!((seen.len(), decoder.tally().corrupt), (2, 1), "{seen:?}");
            assert_eq!(seen[1], "End");
        }
    }
}

#[test]
fn every_flipped_bit_is_reported_and_the_frame_after_the_next_is_read() {
    for record in records() {
        let bytes = stream(&[
            record.clone(),
            Record::End,
            Record::Output { sha256: [9; 32] },
        ]);
        let one = stream(&[record]).len();
        for bit in 0..8 * one {
            let mut decoder = Decoder::new();
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let seen = read(&mut decoder, &flipped);
            let tally = decoder.tally();
            assert!(
                tally.corrupt > 0 || seen[0].starts_with("Text"),
                "bit {bit}: {seen:?}"
            );
            assert!(seen.last().is_some_and(|last| last.starts_with("Output")));
            assert_eq!(tally.records + tally.lost, 3, "bit {bit}: {seen:?}");
        }
    }
}

#[test]
fn every_lost_byte_costs_its_own_frame_at_most() {
    let bytes = stream(&records());
    let whole = records().len() as u64;
    for lost in 0..bytes.len() - 1 {
        let mut decoder = Decoder::new();
        let rest = [&bytes[..lost], &bytes[lost + 1..]].concat();
        read(&mut decoder, &rest);
        let tally = decoder.tally();
        assert!(tally.records >= whole - 1, "{lost}: {tally:?}");
    }
}

#[test]
fn text_and_noise_between_frames_are_told_from_them() {
    let mut decoder = Decoder::new();
    let mut bytes = b"U-Boot 2024.01\r\nloading\n".to_vec();
    bytes.extend(stream(&[Record::End]));
    bytes.extend([0xff; 3]);
    bytes.extend(stream(&[Record::End]));
    let seen = read(&mut decoder, &bytes);
    let text = format!("{:?}", Event::Text("U-Boot 2024.01\r\nloading\n"));
    let noise = format!("{:?}", Event::Corrupt(FrameError::Framing));
    assert_eq!(seen, [text.as_str(), "End", &noise, "End"]);
}

#[test]
fn endless_noise_is_read_in_pieces() {
    let mut decoder = Decoder::new();
    let seen = read(&mut decoder, &[0xa5; 10 * MAX_FRAME]);
    assert_eq!((seen.len(), decoder.tally().corrupt), (10, 10));
    let seen = read(&mut decoder, &[b'a'; 3 * MAX_FRAME]);
    assert_eq!((seen.len(), decoder.tally().corrupt), (3, 10));
}

#[test]
fn missing_records_are_counted_and_a_new_start_is_none() -> Result<(), FrameError> {
    let mut decoder = Decoder::new();
    let mut buffer = [0; MAX_FRAME];
    let mut after = |sequence| -> Result<u64, FrameError> {
        let bytes = frame(sequence, &Record::End, &mut buffer)?;
        read(&mut decoder, bytes);
        Ok(decoder.tally().lost)
    };
    assert_eq!(after(0)?, 0);
    assert_eq!(after(1)?, 0);
    assert_eq!(after(5)?, 3);
    assert_eq!(after(0)?, 3);
    assert_eq!(after(2)?, 4);
    Ok(())
}

#[test]
fn what_came_before_a_stream_was_joined_is_not_lost() -> Result<(), FrameError> {
    let mut decoder = Decoder::joining();
    let mut buffer = [0; MAX_FRAME];
    for (sequence, lost) in [(7, 0), (8, 0), (10, 1)] {
        let bytes = frame(sequence, &Record::End, &mut buffer)?;
        read(&mut decoder, bytes);
        assert_eq!(decoder.tally().lost, lost, "{sequence}");
    }
    Ok(())
}

#[test]
fn the_largest_record_of_each_kind_fits() {
    let long = "ü".repeat(MAX_TEXT);
    let (hash, most) = ([0xff; 32], u64::MAX);
    let latency = Latency {
        count: most,
        min: most,
        max: most,
        sum: most,
        p50: most,
        p90: most,
        p99: most,
    };
    let hello = Record::Hello(Hello {
        model: &long,
        package_hash: hash,
        tool: &long,
        board: &long,
        core: &long,
        kernels: &long,
        ticks_per_second: most,
        arena_bytes: most,
        package_bytes: most,
        nodes: u16::MAX,
        threads: u16::MAX,
    });
    let layer = Record::Layer(Layer {
        index: u16::MAX,
        name: &long,
        op: &long,
        kernel: &long,
        class: &long,
        macs: most,
        bytes: most,
        latency,
    });
    let buckets = Record::Buckets {
        buckets: (0..MAX_BUCKETS)
            .map(|_| Bucket {
                from: most,
                count: u32::MAX,
            })
            .collect(),
    };
    let counters = Record::Counters(Counters {
        uptime: most,
        inferences: most,
        dropped: most,
        refused: most,
        unanswered: most,
        missed: most,
        period_ticks: most,
        period: latency,
        total: latency,
        arena_bytes: most,
        millidegrees: Some(i32::MIN),
        clock_mhz: Some(u32::MAX),
        throttled: Some(u32::MAX),
    });
    for record in [hello, layer, buckets, counters] {
        let mut buffer = [0; MAX_FRAME];
        assert!(frame(u32::MAX, &record, &mut buffer).is_ok(), "{record:?}");
    }
}

#[test]
fn a_long_text_is_cut_between_characters() -> Result<(), FrameError> {
    let long = format!("a{}", "ü".repeat(MAX_TEXT));
    let mut buffer = [0; MAX_PAYLOAD];
    let bytes = payload(0, &Record::Fault { text: &long }, &mut buffer)?;
    let short = &long[..MAX_TEXT - 1];
    assert_eq!(read_payload(bytes)?, (0, Record::Fault { text: short }));
    Ok(())
}

#[test]
fn another_version_is_named() {
    let mut bytes = vec![PROTOCOL + 1, 0, 7];
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes);
    bytes.extend(crc.to_le_bytes());
    let found = PROTOCOL + 1;
    assert_eq!(read_payload(&bytes), Err(FrameError::Version { found }));
}
