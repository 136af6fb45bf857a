//! The grammars of single values: addresses, host names, durations, sizes, and whether a file can be used.
//!
//! Each function says in its error what is wrong and how to mend it; where the value stands in the file is known to
//! the caller only.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let shown = clip(text);
    let example = "write ip:port such as 0.0.0.0:20003 or [::]:20003";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("`{shown}` has no port; {example}"));
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!(
            "`{shown}` has an IPv6 address without brackets; {example}"
        ));
    }
    port_number(port).map_err(|why| format!("`{shown}`: {why}; {example}"))?;
    if host.is_empty() {
        return Err(format!(
            "`{shown}` has no address before the colon; for all interfaces write 0.0.0.0:{port} or [::]:{port}"
        ));
    }
    Err(format!(
        "`{shown}`: `{}` is not an IP address, and names are not looked up here; {example}",
        clip(host)
    ))
}

/// Checks `host:port`, the host being a name, an IPv4 address or an IPv6 address in brackets, the port 1 to 65535.
pub(super) fn address_or_name(text: &str) -> Result<(), String> {
    let shown = clip(text);
    let example = "write host:port such as gateway.example:8443";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("`{shown}` has no port; {example}"));
    };
    if host.contains("://") || port.starts_with("//") {
        return Err(format!(
            "`{shown}` is a URL, only its host and port are wanted; {example}"
        ));
    }
    match port_number(port) {
        Ok(0) => return Err(format!("`{shown}`: port 0 cannot be dialled; {example}")),
        Ok(_) => {}
        Err(why) => return Err(format!("`{shown}`: {why}; {example}")),
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or_default();
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "`{shown}`: `{}` is not an IPv6 address; write [2001:db8::1]:8443",
                clip(host)
            )),
        };
    }
    if host.contains(':') {
        return Err(format!(
            "`{shown}` has an IPv6 address without brackets; write [2001:db8::1]:8443"
        ));
    }
    host_name(host).map_err(|why| format!("`{shown}`: {why}; {example}"))
}

/// "250ms", "5s", "2m", "1h", "7d".
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let example = "write a whole number and ms, s, m, h or d, such as \"5s\" or \"250ms\"";
    let (number, unit) = number_and_unit(text)
        .ok_or_else(|| format!("`{}` is not a length of time; {example}", clip(text)))?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("`{}` has no unit; {example}", clip(text))),
        unit => return Err(format!("`{}` is not a unit of time; {example}", clip(unit))),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!(
                "`{}` is more than the universe will last; {example}",
                clip(text)
            )
        })
}

/// "512B", "64KiB", "1MiB", "2GiB".
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let example = "write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"";
    let (number, unit) = number_and_unit(text)
        .ok_or_else(|| format!("`{}` is not a size; {example}", clip(text)))?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(format!("`{}` has no unit; {example}", clip(text))),
        unit => {
            return Err(format!(
                "`{}` is not a unit of size, sizes count in 1024s; {example}",
                clip(unit)
            ));
        }
    };
    number
        .checked_mul(unit_bytes)
        .ok_or_else(|| format!("`{}` is more than any machine has; {example}", clip(text)))
}

/// The shortest exact way to write a duration that [`duration`] reads.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit_ms, unit) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ] {
        if ms != 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// The shortest exact way to write a size that [`bytes`] reads.
pub(super) fn show_bytes(bytes: u64) -> String {
    for (unit_bytes, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(unit_bytes) {
            return format!("{}{unit}", bytes / unit_bytes);
        }
    }
    format!("{bytes}B")
}

/// Whether `path` is a file this process can open for reading now.
pub(super) fn readable(path: &Path) -> Result<fs::Metadata, String> {
    // The kind is asked first: opening a FIFO would wait for its writer.
    let metadata = fs::metadata(path).map_err(|error| file_error(&error))?;
    if metadata.is_dir() {
        return Err("is a folder, a file is wanted".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    File::open(path).map_err(|error| file_error(&error))?;
    Ok(metadata)
}

/// As [`readable`], and nobody but its owner may read or change it.
pub(super) fn secret(path: &Path) -> Result<(), String> {
    let mode = readable(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!(
        "has mode {mode:04o}, so group or others may get at the secret in it; run `chmod 600 {}`",
        path.display()
    ))
}

/// The candidate a person most likely meant, if one is near enough.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c String>,
) -> Option<&'c str> {
    candidates
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(word, candidate),
                candidate.as_str(),
            )
        })
        .filter(|&(distance, candidate)| {
            distance <= word.chars().count().max(candidate.chars().count()) / 3
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// What of a value is repeated in a problem: enough to find it, never a page.
pub(super) fn clip(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(SHOWN_CHARS_MAX).collect();
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

fn file_error(error: &std::io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "io::ErrorKind is open; the rest is said in the system's own words"
    )]
    match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => format!(
            "may not be read by this user (uid {})",
            rustix::process::geteuid().as_raw()
        ),
        _ => format!("cannot be read: {error}"),
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

fn port_number(text: &str) -> Result<u16, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{}` is not a port number", clip(text)));
    }
    text.parse()
        .map_err(|_overflow| format!("port {} is above 65535", clip(text)))
}

fn host_name(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("there is no host before the colon".to_owned());
    }
    // RFC 1123, section 2.1 and RFC 1035, section 2.3.4; a trailing dot is the root label. Underscores are no host
    // names, and in use all the same.
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 {
        return Err("a host name has at most 253 characters".to_owned());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(format!(
                "`{}` is not a host name: each part between dots has 1 to 63 characters",
                clip(host)
            ));
        }
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !label.bytes().all(fine) || label.starts_with('-') || label.ends_with('-') {
            return Err(format!(
                "`{}` is not a host name: only letters, digits and inner hyphens may stand in one",
                clip(host)
            ));
        }
    }
    // `1.2.3` or `10.0.0.300` would be looked up as a name by some and as an address by others.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(format!("`{}` is not an IPv4 address", clip(host)));
    }
    Ok(())
}
