//! What taking a rule set in costs an agent, by itself: signature and hash, reading and compiling, its tests, letting go.

use std::path::Path;
use std::time::{Duration, Instant};

use adit_manifest::{Signers, SigningKey, Stamp, sign, verify};
use adit_policy::Snapshot;
use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use crate::{tell, ticks};

/// Takes the rule set of `file` in `rounds` times; a line for each.
///
/// # Errors
/// When it is none.
pub(crate) fn run(file: &Path, rounds: u32) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let key = SigningKey::from_seed(&[7; 32]).map_err(|error| anyhow!("{error}"))?;
    let stamp = Stamp {
        epoch: 1,
        version: 1,
    };
    let document = sign(AUDIENCE, stamp, 0, &text, &[&key]);
    drop(text);
    let keys = [key.public()];
    for _ in 0..rounds {
        let before = resident();
        let watch = Watch::start();
        let verified = verify(document.as_bytes(), Signers::Keys(&keys), AUDIENCE, None)
            .map_err(|refused| anyhow!("{refused}"))?;
        let verify = watch.stop();
        let watch = Watch::start();
        let snapshot = Snapshot::from_file("rules", 1, verified.content.to_owned())
            .map_err(|problems| anyhow!("{problems}"))?;
        let compile = watch.stop();
        let watch = Watch::start();
        let tests = snapshot.table().run_tests();
        tests.map_err(|problems| anyhow!("{problems}"))?;
        let tests = watch.stop();
        let held = resident().saturating_sub(before);
        let systems = &snapshot.table().rules().systems;
        let resources: usize = systems.iter().map(|system| system.resources.len()).sum();
        let line = json!({
            "bytes": document.len(),
            "systems": systems.len(),
            "resources": resources,
            "verify_s": verify.0.as_secs_f64(),
            "compile_s": compile.0.as_secs_f64(),
            "compile_cpu_s": compile.1.as_secs_f64(),
            "tests_s": tests.0.as_secs_f64(),
            "held_bytes": held,
            "most_bytes": kib("VmHWM:") * 1024,
        });
        let watch = Watch::start();
        drop(snapshot);
        let mut line = line;
        if let Some(fields) = line.as_object_mut() {
            fields.insert("drop_s".to_owned(), json!(watch.stop().0.as_secs_f64()));
        }
        tell(&line.to_string())?;
    }
    Ok(())
}

/// Time on the wall and on the processor.
struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), ticks::thread())
    }

    fn stop(&self) -> (Duration, Duration) {
        (self.0.elapsed(), ticks::thread().saturating_sub(self.1))
    }
}

fn resident() -> u64 {
    kib("VmRSS:") * 1024
}

/// A line of `/proc/self/status`.
fn kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

const AUDIENCE: &str = "acme/";
