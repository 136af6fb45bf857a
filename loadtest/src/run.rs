//! The commands that measure: which cases, with whom, in which order; and what is kept.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{BackendArgs, ReportArgs, RunArgs};
use crate::backend::Backend;
use crate::bench::Bench;
use crate::case::{self, Applies, Case};
use crate::interrupt;
use crate::measure::Measured;
use crate::place::Places;
use crate::record::{self, Machine, Record, Sample};
use crate::subject::{DIRECT, Setting, free_port};
use crate::{adit, fleet, peer, report, scenario};

/// `run` and `compare`.
pub(crate) fn run(args: &RunArgs, with_peers: bool) -> Result<()> {
    interrupt::watch()?;
    let places = Places::new(!args.no_pin)?;
    let cases = chosen(args, places.processors())?;
    let (peers, missing) = if with_peers {
        peers(args)?
    } else {
        (Vec::new(), Vec::new())
    };
    for line in &missing {
        eprintln!("{line}");
    }
    let mut bench = bench(args, places)?;
    if cases.iter().any(|case| case.kind.needs_fleet()) {
        must_be_there(&bench.setting.programs, fleet::PROGRAM)?;
    }
    let (peers, missing) = those_that_start(&mut bench, peers, missing)?;
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    let subjects: Vec<String> = [DIRECT, adit::NAME]
        .into_iter()
        .map(str::to_owned)
        .chain(peers)
        .collect();
    let mut record = Record {
        begun: record::now(),
        commit: record::commit(),
        command: told_command(),
        machine: Machine::here(bench.setting.places.processors()),
        places: bench.setting.places.told(),
        shards: args.shards,
        rounds,
        seconds: bench.time.as_secs_f64(),
        missing,
        samples: Vec::new(),
    };
    let end = measure_all(&mut bench, &cases, &subjects, rounds, &mut record);
    drop(bench);
    // What was measured before an interruption is kept as well.
    if record.samples.is_empty() {
        return end;
    }
    let folder = record.keep(&args.out)?;
    report::html::write(&record, &folder.join("report.html"))?;
    if let Some(file) = &args.json {
        record.write(file)?;
    }
    if let Some(file) = &args.html {
        report::html::write(&record, file)?;
    }
    report::print(&record);
    eprintln!("kept in {}", folder.display());
    end
}

/// `report`.
pub(crate) fn report(args: &ReportArgs) -> Result<()> {
    let record = Record::read(&args.record)?;
    match &args.html {
        Some(file) => report::html::write(&record, file),
        None => {
            report::print(&record);
            Ok(())
        }
    }
}

/// `backend`.
pub(crate) fn backend(args: &BackendArgs) -> Result<()> {
    // The harness that started it holds the other end of standard input, and so ends it even when it
    // dies. A Ctrl-C is the harness's to answer.
    interrupt::watch()?;
    let places = Places::new(false)?;
    let backend = Backend::start(args.threads.max(1), &places)?;
    let doors = format!("{} {}\n", backend.http, backend.tcp);
    std::fs::write(&args.doors, doors).with_context(|| format!("{}", args.doors.display()))?;
    let mut nothing = [0];
    while std::io::stdin()
        .lock()
        .read(&mut nothing)
        .is_ok_and(|length| length > 0)
    {}
    Ok(())
}

fn bench(args: &RunArgs, places: Places) -> Result<Bench> {
    let processors = places.processors();
    let setting = Setting {
        programs: programs(args.programs.as_deref())?,
        places,
        // Until the backend is there.
        http: free_port()?,
        tcp: free_port()?,
        shards: args.shards.max(1),
        driver: args.driver.clone(),
        quality: None,
        tunnels: 0,
        audit: None,
        sink: None,
    };
    let threads = args.threads.unwrap_or_else(|| (processors / 4).max(1));
    let mut bench = Bench::new(setting, threads)?;
    let seconds = args.seconds.unwrap_or(if args.quick { 1.0 } else { 3.0 });
    bench.time = Duration::try_from_secs_f64(seconds).context("--seconds")?;
    let push = args
        .push_seconds
        .unwrap_or(if args.quick { 20.0 } else { 60.0 });
    bench.push_time = Duration::try_from_secs_f64(push).context("--push-seconds")?;
    bench.quick = args.quick;
    Ok(bench)
}

fn programs(given: Option<&Path>) -> Result<PathBuf> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => {
            let own = std::env::current_exe()?;
            own.parent().context("a folder of this program")?.to_owned()
        }
    };
    for name in ["aditd", "adit"] {
        must_be_there(&folder, name)?;
    }
    Ok(folder.canonicalize()?)
}

fn must_be_there(folder: &Path, name: &str) -> Result<()> {
    if !folder.join(name).is_file() {
        bail!(
            "{}: no {name}; run `make release` (`make loadtest-plane` for adit-fleet), or say --programs DIR",
            folder.display()
        );
    }
    Ok(())
}

fn chosen(args: &RunArgs, processors: usize) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for scenario in &case::SCENARIOS {
        let is_named = |text: &String| {
            let named = case::named(text);
            named.iter().any(|named| named.letter == scenario.letter)
        };
        let wanted = match args.scenarios.as_slice() {
            [] => scenario.is_default,
            named => named.iter().any(is_named),
        };
        if wanted {
            let whole = case::cases(scenario, args.quick, processors);
            cases.extend(whole.into_iter().map(|case| {
                if args.brief_peers {
                    case.brief_for_peers()
                } else {
                    case
                }
            }));
        }
    }
    for text in &args.scenarios {
        if case::named(text).is_empty() {
            let names: Vec<&str> = case::SCENARIOS.iter().map(|one| one.name).collect();
            bail!(
                "{text}: no such scenario; there are {}, and {} for the last four",
                names.join(", "),
                case::PLANE
            );
        }
    }
    Ok(cases)
}

/// The peers that are here, and a line for each that is not.
fn peers(args: &RunArgs) -> Result<(Vec<String>, Vec<String>)> {
    let known: BTreeSet<&str> = peer::PEERS.iter().map(|peer| peer.name).collect();
    for name in args.peers.iter().flatten() {
        if !known.contains(name.as_str()) {
            bail!("{name}: no such peer; there are {known:?}");
        }
    }
    let mut here = Vec::new();
    let mut missing = Vec::new();
    for peer in &peer::PEERS {
        let wanted = args
            .peers
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == peer.name));
        if !wanted {
            continue;
        }
        match peer.missing() {
            None => here.push(peer.name.to_owned()),
            Some(program) => missing.push(format!(
                "{} is left out: {program} is not installed",
                peer.name
            )),
        }
    }
    Ok((here, missing))
}

/// Peers that are here and do not start are left out as well, and wait ready otherwise.
fn those_that_start(
    bench: &mut Bench,
    peers: Vec<String>,
    mut missing: Vec<String>,
) -> Result<(Vec<String>, Vec<String>)> {
    let mut ready = Vec::new();
    for name in peers {
        match bench.take(&name) {
            Ok(subject) => {
                bench.stand(subject);
                ready.push(name);
            }
            Err(error) => {
                interrupt::check()?;
                let line = format!("{name} is left out: {error:#}");
                eprintln!("{line}");
                missing.push(line.lines().collect::<Vec<_>>().join(" "));
            }
        }
    }
    Ok((ready, missing))
}

fn measure_all(
    bench: &mut Bench,
    cases: &[Case],
    subjects: &[String],
    rounds: u32,
    record: &mut Record,
) -> Result<()> {
    let mut work = Vec::new();
    for round in 1..=rounds {
        for case in cases {
            let who = subjects.iter().filter(|who| {
                let is_peer = *who != DIRECT && *who != adit::NAME;
                let most = if is_peer {
                    case.rounds_most_of_peers
                } else {
                    case.rounds_most
                };
                round <= most && applies(case, who)
            });
            work.extend(who.map(|who| (round, case, who.as_str())));
        }
    }
    let bar = ProgressBar::new(u64::try_from(work.len())?);
    bar.set_style(ProgressStyle::with_template(
        "[{elapsed_precise}] {bar:30} {pos}/{len} {msg}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(500));
    for (round, case, who) in work {
        bar.set_message(format!(
            "{} {}, {who}, round {round}",
            case.scenario, case.variant
        ));
        let begun = Instant::now();
        let measured = match scenario::run(bench, case, who) {
            Ok(measured) => measured,
            Err(_) if interrupt::asked() => break,
            Err(error) => {
                bar.suspend(|| {
                    eprintln!("{} {}, {who}: {error:#}", case.scenario, case.variant);
                });
                let mut nothing = Measured::default();
                nothing.note(&format!("not measured: {error:#}"));
                nothing
            }
        };
        record.samples.push(Sample {
            scenario: case.scenario.to_owned(),
            variant: case.variant.clone(),
            subject: who.to_owned(),
            round,
            seconds: begun.elapsed().as_secs_f64(),
            figures: measured.figures,
            curve: measured.curve,
            note: measured.note,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    interrupt::check()
}

fn applies(case: &Case, who: &str) -> bool {
    match case.kind.applies() {
        Applies::Everybody => true,
        Applies::Tunnels => who != DIRECT,
        Applies::Adit => who == adit::NAME,
    }
}

fn told_command() -> String {
    let mut words = vec!["adit-loadtest".to_owned()];
    words.extend(std::env::args().skip(1));
    words.join(" ")
}
