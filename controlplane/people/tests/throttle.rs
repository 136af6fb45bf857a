//! Guessing passwords, in virtual time.

use core::net::IpAddr;
use core::time::Duration;

use adit_people::limits::{
    FAILURES_PER_SOURCE_MAX, FAILURES_PER_USER_MAX, FAILURES_REMEMBERED, FAILURES_WINDOW,
    THROTTLED_MAX, WAIT_FIRST, WAIT_MAX,
};
use adit_people::{Throttle, Wait};
use proptest::prelude::*;

fn source(text: &str) -> IpAddr {
    text.parse().expect("the tests write addresses")
}

fn nth(at: u32) -> IpAddr {
    IpAddr::from(at.to_be_bytes())
}

const START: Duration = Duration::from_secs(1000);

/// Fails as often as is allowed at `now`, each time from another source.
fn exhaust(throttle: &mut Throttle, user: &str, now: Duration) {
    for at in 0..FAILURES_PER_USER_MAX {
        assert_eq!(throttle.attempt(user, nth(at), now), Ok(()), "{at}");
    }
}

#[test]
fn after_the_last_free_failure_a_name_waits_and_each_wait_is_twice_the_last() {
    let mut throttle = Throttle::new();
    let mut now = START;
    exhaust(&mut throttle, "ada", now);
    let mut wait = WAIT_FIRST;
    for _ in 0..10 {
        assert_eq!(throttle.attempt("ada", nth(99), now), Err(Wait(wait)));
        // Trying while waiting changes nothing.
        let late = now + wait - Duration::from_millis(1);
        assert_eq!(
            throttle.attempt("ada", nth(99), late),
            Err(Wait(Duration::from_millis(1)))
        );
        now += wait;
        assert_eq!(throttle.attempt("ada", nth(98), now), Ok(()));
        wait = (wait * 2).min(WAIT_MAX);
    }
    assert_eq!(wait, WAIT_MAX);
    assert_eq!(
        throttle.attempt("eve", nth(97), now),
        Ok(()),
        "nobody else waits"
    );
}

#[test]
fn failures_a_window_apart_are_not_counted_together() {
    let mut throttle = Throttle::new();
    for at in 0..FAILURES_PER_USER_MAX - 1 {
        throttle.attempt("ada", nth(at), START).unwrap();
    }
    let mut other = Throttle::new();
    for at in 0..FAILURES_PER_USER_MAX - 1 {
        other.attempt("ada", nth(at), START).unwrap();
    }
    let inside = START + FAILURES_WINDOW - Duration::from_millis(1);
    throttle.attempt("ada", nth(50), inside).unwrap();
    assert!(throttle.attempt("ada", nth(51), inside).is_err());
    let outside = START + FAILURES_WINDOW;
    other.attempt("ada", nth(50), outside).unwrap();
    assert!(other.attempt("ada", nth(51), outside).is_ok());
}

#[test]
fn success_clears_the_name() {
    let mut throttle = Throttle::new();
    for at in 0..FAILURES_PER_USER_MAX - 1 {
        throttle.attempt("ada", nth(at), START).unwrap();
    }
    throttle.attempt("ada", nth(50), START).unwrap();
    throttle.succeeded("ada", nth(50));
    exhaust(&mut throttle, "ada", START);
    assert!(throttle.attempt("ada", nth(51), START).is_err());
}

#[test]
fn a_source_that_guesses_many_names_waits_and_one_known_password_does_not_help_it() {
    let mut throttle = Throttle::new();
    let here = source("192.0.2.1");
    for at in 0..FAILURES_PER_SOURCE_MAX {
        throttle.attempt(&format!("user{at}"), here, START).unwrap();
        if at + 1 < FAILURES_PER_SOURCE_MAX {
            throttle.attempt("mallory", here, START).unwrap();
            throttle.succeeded("mallory", here);
        }
    }
    assert_eq!(throttle.attempt("ada", here, START), Err(Wait(WAIT_FIRST)));
    let mapped = source("::ffff:192.0.2.1");
    assert!(
        throttle.attempt("ada", mapped, START).is_err(),
        "the same address"
    );
    assert!(throttle.attempt("ada", source("192.0.2.2"), START).is_ok());
}

#[test]
fn a_right_password_does_not_end_the_wait_that_other_tries_have_earned() {
    let mut throttle = Throttle::new();
    let here = source("192.0.2.1");
    throttle.attempt("mallory", here, START).unwrap();
    for at in 1..FAILURES_PER_SOURCE_MAX {
        throttle.attempt(&format!("user{at}"), here, START).unwrap();
    }
    let now = START + WAIT_FIRST;
    throttle.attempt("ada", here, now).unwrap();
    let wait = Err(Wait(WAIT_FIRST * 2));
    assert_eq!(throttle.attempt("eve", here, now), wait);
    throttle.succeeded("mallory", here);
    assert_eq!(throttle.attempt("eve", here, now), wait);
}

#[test]
fn a_network_of_64_bits_is_one_source() {
    let mut throttle = Throttle::new();
    for at in 0..FAILURES_PER_SOURCE_MAX {
        let here = source(&format!("2001:db8:0:1::{at:x}"));
        throttle.attempt(&format!("user{at}"), here, START).unwrap();
    }
    assert!(
        throttle
            .attempt("ada", source("2001:db8:0:1:ffff::"), START)
            .is_err()
    );
    assert!(
        throttle
            .attempt("ada", source("2001:db8:0:2::"), START)
            .is_ok()
    );
}

#[test]
fn a_name_is_forgotten_when_it_has_been_quiet() {
    let last = START;
    for (quiet, waits) in [
        (FAILURES_REMEMBERED - Duration::from_millis(1), true),
        (FAILURES_REMEMBERED, false),
    ] {
        let mut throttle = Throttle::new();
        exhaust(&mut throttle, "ada", last);
        let now = last + quiet;
        throttle.attempt("ada", nth(50), now).unwrap();
        assert_eq!(throttle.attempt("ada", nth(51), now).is_err(), waits);
    }
}

#[test]
fn the_table_is_bounded_and_a_flood_of_names_does_not_wash_out_the_guessed_one() {
    let mut throttle = Throttle::new();
    exhaust(&mut throttle, "ada", START);
    let soon = START + Duration::from_secs(1);
    let mut at = 0;
    while throttle.len() < THROTTLED_MAX {
        at += 1;
        throttle
            .attempt(&format!("user{at}"), nth(1000 + at), soon)
            .unwrap();
    }
    assert_eq!(throttle.len(), THROTTLED_MAX, "full");
    for more in 0..100 {
        throttle
            .attempt(&format!("more{more}"), nth(1_000_000 + more), soon)
            .unwrap();
        assert_eq!(throttle.len(), THROTTLED_MAX);
    }
    assert!(
        throttle.attempt("ada", nth(50), soon).is_err(),
        "still known"
    );
    // Once they are over all make room.
    let later = soon + FAILURES_REMEMBERED;
    throttle.attempt("ada", nth(50), later).unwrap();
    assert!(throttle.len() <= 2, "{}", throttle.len());
}

#[test]
fn no_debug_shows_what_was_typed_as_a_name() {
    let mut throttle = Throttle::new();
    throttle
        .attempt("my-canary-password", nth(1), START)
        .unwrap();
    assert!(!format!("{throttle:?}").contains("canary"));
}

proptest! {
    #[test]
    fn whatever_happened_nobody_waits_longer_than_the_longest_wait(
        steps in prop::collection::vec((0..3_u32, 0..3_u32, 0..400_u64, any::<bool>()), 0..200),
    ) {
        let mut throttle = Throttle::new();
        let mut now = START;
        for (user, from, pause, good) in steps {
            now += Duration::from_secs(pause);
            let user = user.to_string();
            match throttle.attempt(&user, nth(from), now) {
                Ok(()) if good => throttle.succeeded(&user, nth(from)),
                Ok(()) => {}
                Err(Wait(wait)) => {
                    prop_assert!(wait <= WAIT_MAX);
                    let mut later = Throttle::new();
                    core::mem::swap(&mut later, &mut throttle);
                    prop_assert_eq!(later.attempt(&user, nth(from), now + wait), Ok(()));
                    return Ok(());
                }
            }
        }
    }
}
