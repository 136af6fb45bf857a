//! A rule set as TOML text: one canonical form, with every default left out.
//!
//! What is written here, `parse` reads back as the same rules.
use core::fmt::{self, Write};

use crate::rule::{
    EncodedSlash, HostHeader, PortRange, Protocol, Resource, RuleSet, Scope, System,
};
use crate::rule_test::{Expected, RuleTest};

impl fmt::Display for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, system) in self.systems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write_system(f, system)?;
        }
        for (index, test) in self.tests.iter().enumerate() {
            if index > 0 || !self.systems.is_empty() {
                f.write_str("\n")?;
            }
            write_test(f, test)?;
        }
        Ok(())
    }
}

fn write_system(f: &mut fmt::Formatter<'_>, system: &System) -> fmt::Result {
    f.write_str("[[system]]\n")?;
    if let Some(name) = &system.given_name {
        line(f, "name", name)?;
    }
    if let Some(description) = &system.description {
        line(f, "description", description)?;
    }
    line(f, "virtual", &system.virtual_end.to_string())?;
    line(f, "protocol", system.protocol.word())?;
    line(f, "internal", &internal(system))?;
    if let Some(file) = &system.ca_file {
        line(f, "ca_file", file)?;
    }
    if system.host_header == HostHeader::Internal {
        line(f, "host_header", "internal")?;
    }
    if system.encoded_slash == EncodedSlash::Keep {
        line(f, "encoded_slash", "keep")?;
    }
    if system.allow_loopback {
        f.write_str("allow_loopback = true\n")?;
    }
    for resource in &system.resources {
        write_resource(f, resource)?;
    }
    Ok(())
}

fn internal(system: &System) -> String {
    let end = &system.internal;
    let ports: PortRange = end.ports;
    match (system.protocol, end.encrypted) {
        (Protocol::Http, false) => format!("http://{}:{ports}", end.host),
        (Protocol::Http, true) => format!("https://{}:{ports}", end.host),
        (Protocol::Tcp | Protocol::Tls, _) => format!("{}:{ports}", end.host),
    }
}

fn write_resource(f: &mut fmt::Formatter<'_>, resource: &Resource) -> fmt::Result {
    f.write_str("\n[[system.resource]]\n")?;
    line(f, "path", resource.path.as_str())?;
    if resource.scope == Scope::Subtree {
        line(f, "scope", "subtree")?;
    }
    if !resource.methods.is_all() {
        f.write_str("methods = [")?;
        for (index, method) in resource.methods.names().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write_string(f, method)?;
        }
        f.write_str("]\n")?;
    }
    if resource.upgrade {
        f.write_str("upgrade = true\n")?;
    }
    if resource.parameters {
        f.write_str("parameters = true\n")?;
    }
    if !resource.active {
        f.write_str("active = false\n")?;
    }
    if let Some(description) = &resource.description {
        line(f, "description", description)?;
    }
    Ok(())
}

fn write_test(f: &mut fmt::Formatter<'_>, test: &RuleTest) -> fmt::Result {
    f.write_str("[[test]]\n")?;
    if let Some(name) = &test.name {
        line(f, "name", name)?;
    }
    line(f, "request", test.written())?;
    line(f, "expect", test.expect.word())?;
    match &test.expect {
        Expected::Allow { rule: Some(rule) } => line(f, "rule", &rule.to_string()),
        Expected::Deny {
            reason: Some(reason),
        } => line(f, "reason", reason.word()),
        Expected::Allow { rule: None } | Expected::Deny { reason: None } => Ok(()),
    }
}

fn line(f: &mut fmt::Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    write!(f, "{key} = ")?;
    write_string(f, value)?;
    f.write_str("\n")
}

/// A basic string of TOML 1.0.
fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control.is_control() => write!(f, "\\u{:04X}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}
