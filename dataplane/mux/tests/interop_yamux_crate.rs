//! Our session against the `yamux` crate, in both roles, over an in-memory pipe.
//!
//! The crate runs as futures on a local pool; our session is pumped by hand between its turns. The
//! pool runs until it stalls, so a lost wake-up or a frame that never comes shows as a stall, not
//! as a timeout. Our clock moves one millisecond a turn.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy exempts only inside #[test]"
)]

#[path = "interop_yamux_crate/stage.rs"]
mod stage;

use std::io;
use std::time::Duration;

use adit_mux::{GoAwayCode, Settings, Side};

use stage::{Stage, Talk, whole};

const MIB: usize = 1 << 20;

#[test]
fn the_crate_echoes_megabytes_on_streams_we_open() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::Echo);
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5, 0] {
            stage.we_open(Talk::SayThenListen(bytes));
        }
        stage.run_until(|stage| stage.reports.len() == 5 && stage.crate_reports() == 5);
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5, 0] {
            assert!(stage.reports.contains(&whole(bytes)), "{bytes}");
            assert!(
                stage.shared.borrow().reports.contains(&whole(bytes)),
                "{bytes}"
            );
        }
        assert_eq!(stage.ours.streams(), 0);
    });
}

#[test]
fn we_echo_megabytes_on_streams_the_crate_opens() {
    Stage::both_roles(|mut stage| {
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5] {
            stage.crate_opens(Talk::SayThenListen(bytes));
        }
        stage.run_until(|stage| stage.reports.len() == 4 && stage.crate_reports() == 4);
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5] {
            assert!(
                stage.shared.borrow().reports.contains(&whole(bytes)),
                "{bytes}"
            );
        }
        assert_eq!(stage.ours.streams(), 0);
        assert_eq!(stage.ours.buffered(), 0);
    });
}

#[test]
fn streams_of_both_sides_run_at_the_same_time() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::Echo);
        for _ in 0..100 {
            stage.we_open(Talk::SayThenListen(20_000));
            stage.crate_opens(Talk::SayThenListen(20_000));
        }
        stage.run_until(|stage| stage.reports.len() == 200 && stage.crate_reports() == 200);
        assert!(stage.reports.iter().all(|report| *report == whole(20_000)));
        assert!(
            stage
                .shared
                .borrow()
                .reports
                .iter()
                .all(|report| *report == whole(20_000))
        );
    });
}

#[test]
fn a_half_closed_stream_carries_megabytes_the_other_way() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::ListenThenSay(2 * MIB));
        stage.on_opened = Talk::ListenThenSay(2 * MIB);
        stage.we_open(Talk::SayThenListen(MIB));
        stage.crate_opens(Talk::SayThenListen(MIB));
        stage.run_until(|stage| stage.reports.len() == 2 && stage.crate_reports() == 2);
        for bytes in [MIB, 2 * MIB] {
            assert!(stage.reports.contains(&whole(bytes)));
            assert!(stage.shared.borrow().reports.contains(&whole(bytes)));
        }
    });
}

#[test]
fn our_windows_grow_and_the_crate_follows() {
    // A turn is 1 ms and brings 50 kB; our ping takes 500 ms. So half of the first window, three
    // turns, goes within one round trip.
    let mut stage = Stage::new(Side::Client, Settings::default());
    stage.crate_opens(Talk::SayThenListen(30 * MIB));
    stage.ours.ping(stage.now);
    stage.write();
    stage.now += Duration::from_millis(500);
    stage.run_until(|stage| stage.crate_reports() == 1);
    assert_eq!(stage.shared.borrow().reports[0], whole(30 * MIB));
    assert!(
        stage.ours.stats().windows_grown > 0,
        "{:?} {:?}",
        stage.ours.rtt(),
        stage.ours.stats()
    );
    assert!(stage.ours.rtt().unwrap() >= Duration::from_millis(500));
}

#[test]
fn a_stream_the_crate_drops_is_reset_for_us() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::ReadAndDrop(100_000));
        stage.we_open(Talk::SayThenListen(5 * MIB));
        stage.run_until(|stage| stage.reports.len() == 1);
        assert_eq!(stage.reports[0].error, Some(io::ErrorKind::ConnectionReset));
        assert_eq!(stage.ours.streams(), 0);
        assert!(stage.failed.is_none());
    });
}

#[test]
fn a_stream_we_reset_ends_for_the_crate_and_its_late_data_is_swallowed() {
    Stage::both_roles(|mut stage| {
        stage.on_opened = Talk::ReadAndDrop(100_000);
        stage.crate_opens(Talk::SayThenListen(5 * MIB));
        stage.run_until(|stage| stage.crate_reports() == 1);
        assert_eq!(
            stage.shared.borrow().reports[0].error,
            Some(io::ErrorKind::WriteZero)
        );
        for _ in 0..20 {
            stage.turn();
        }
        assert!(stage.failed.is_none());
        assert_eq!((stage.ours.streams(), stage.ours.buffered()), (0, 0));
        assert_eq!(
            stage.ours.stats().glitches,
            64,
            "the crate's one ping; late data was within its credit"
        );
        // The session goes on.
        stage.on_opened = Talk::Echo;
        stage.crate_opens(Talk::SayThenListen(1000));
        stage.run_until(|stage| stage.crate_reports() == 2);
        assert_eq!(stage.shared.borrow().reports[1], whole(1000));
    });
}

#[test]
fn a_stream_we_refuse_ends_for_the_crate() {
    let settings = Settings {
        streams_max: 1,
        ..Settings::default()
    };
    let mut stage = Stage::new(Side::Server, settings);
    stage.shared.borrow_mut().on_inbound = Some(Talk::ListenThenSay(5));
    stage.we_open(Talk::ReadToTheEnd);
    stage.crate_opens(Talk::ReadToTheEnd);
    stage.run_until(|stage| stage.crate_reports() == 1);
    assert_eq!(stage.shared.borrow().reports[0].heard, 0);
    assert_eq!(stage.ours.stats().refused_streams_max, 1);
}

#[test]
fn pings_are_answered_both_ways() {
    Stage::both_roles(|mut stage| {
        stage.ours.ping(stage.now);
        stage
            .run_until(|stage| stage.ours.rtt().is_some() && stage.ours.stats().pings_received > 0);
        assert_eq!(
            stage.ours.stats().glitches,
            64,
            "the crate's one ping, and nothing odd"
        );
    });
}

#[test]
fn the_crates_go_away_is_normal() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().close = true;
        let waker = stage.shared.borrow_mut().driver.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        stage.run_until(|stage| stage.went_away.is_some());
        assert_eq!(stage.went_away, Some(GoAwayCode::Normal));
        assert_eq!(stage.shared.borrow().ended.as_deref(), Some("Ok(())"));
    });
}

#[test]
fn our_go_away_ends_the_crates_connection() {
    Stage::both_roles(|mut stage| {
        stage.ours.go_away(GoAwayCode::Normal);
        stage.run_until(|stage| stage.shared.borrow().ended.is_some());
        // The crate treats every go-away as the end, and says so by an end without an error.
        assert_eq!(stage.shared.borrow().ended.as_deref(), Some("None"));
    });
}

#[test]
fn a_stream_the_crate_opens_and_drops_unused_does_no_harm() {
    // The crate then says RST for an id it never announced.
    Stage::both_roles(|mut stage| {
        stage.crate_opens(Talk::ReadAndDrop(0));
        stage.run_until(|stage| stage.crate_reports() == 1);
        for _ in 0..10 {
            stage.turn();
        }
        assert!(stage.failed.is_none());
        stage.crate_opens(Talk::SayThenListen(1000));
        stage.run_until(|stage| stage.crate_reports() == 2);
        assert_eq!(stage.shared.borrow().reports[1], whole(1000));
    });
}
