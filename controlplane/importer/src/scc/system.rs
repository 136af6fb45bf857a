//! One system of a Cloud Connector: its two ends, its protocol, and what of it adit does not carry.
//!
//! Resources of http systems are `resource`'s. Which systems contradict each other is found out where all are known.
use adit_policy::{
    AddressClass, EncodedSlash, HostHeader, HostName, InternalEnd, InternalHost, PortRange,
    Protocol, System, VirtualEnd,
};

use super::shape::Raw;
use super::{at, resource, unknown_members};
use crate::finding::{self, Findings, Kind, cut, quoted};
use crate::json::Json;

/// The members of a system that Cloud Connector 2.19 and earlier ones write, and what adit's documents add to them.
const KNOWN: [&str; 20] = [
    "virtualHost",
    "virtualPort",
    "localHost",
    "localPort",
    "protocol",
    "backendType",
    "authenticationMode",
    "hostInHeader",
    "description",
    "sid",
    "creationDate",
    "totalResourcesCount",
    "enabledResourcesCount",
    "resources",
    "_links",
    "sncPartnerName",
    "sapRouter",
    "allowedClients",
    "blacklistedUsers",
    "enabled",
];

/// What is known while one system is read.
struct Reader<'r, 'f> {
    raw: &'r Raw<'r>,
    about: String,
    findings: &'f mut Findings,
}

pub(super) fn read(raw: &Raw<'_>, slash: EncodedSlash, findings: &mut Findings) -> Option<System> {
    let mut reader = Reader {
        raw,
        about: raw.about(),
        findings,
    };
    reader.system(slash)
}

impl Reader<'_, '_> {
    fn system(&mut self, slash: EncodedSlash) -> Option<System> {
        let raw = self.raw;
        unknown_members(
            raw.value,
            &KNOWN,
            "the system",
            &raw.place,
            &self.about,
            self.findings,
        );
        // No release is known to write it for a system. If one does, it says what it says for a resource.
        if let Some(enabled) = raw.value.member("enabled")
            && *enabled != Json::Flag(true)
        {
            return self.left_out(Kind::Disabled, "enabled", "the system is switched off");
        }
        let word = self.text("protocol")?;
        let word = word.to_ascii_uppercase();
        // SAP, system-mappings: HTTP, HTTPS, RFC, RFCS, LDAP, LDAPS, TCP, TCPS.
        let (protocol, encrypted) = match word.as_str() {
            "HTTP" => (Protocol::Http, false),
            "HTTPS" => (Protocol::Http, true),
            "TCP" => (Protocol::Tcp, false),
            "TCPS" => (Protocol::Tls, true),
            "RFC" | "RFCS" => {
                self.function_modules();
                return self.left_out(
                    Kind::Protocol,
                    "protocol",
                    "adit does not carry SAP RFC yet",
                );
            }
            "LDAP" | "LDAPS" => {
                return self.left_out(
                    Kind::Protocol,
                    "protocol",
                    "adit has no door for LDAP yet; for callers that speak SOCKS5 write a system of protocol tcp or tls",
                );
            }
            other => {
                let why = format!("protocol {} is not known here", quoted(other));
                return self.left_out(Kind::Protocol, "protocol", &why);
            }
        };
        let virtual_end = self.virtual_end()?;
        let internal = self.internal_end(encrypted)?;
        let (outer, inner) = (virtual_end.ports, internal.ports);
        if protocol == Protocol::Http && !(outer.is_one() && inner.is_one()) {
            return self.left_out(
                Kind::End,
                "virtualPort",
                "a system of protocol http has one port",
            );
        }
        if outer.width() != inner.width() {
            let why = format!("virtual ports {outer} and internal ports {inner} are not as many");
            return self.left_out(Kind::End, "localPort", &why);
        }
        self.what_is_opaque(protocol, outer);
        self.what_is_not_carried();
        let mut system = System::new(virtual_end, protocol, internal);
        system.description = Some(self.description(&word));
        if protocol == Protocol::Http {
            system.host_header = self.host_header();
            system.encoded_slash = slash;
            system.resources = resource::read(self.raw, &self.about, slash, self.findings);
            self.are_resources_whole();
        } else if !self.raw.resources.is_empty() {
            self.look(
                Kind::UnknownMember,
                "resources",
                "resources of a system of opaque bytes mean nothing and are not imported"
                    .to_owned(),
            );
        }
        Some(system)
    }

    fn virtual_end(&mut self) -> Option<VirtualEnd> {
        let host = self.text("virtualHost")?;
        let ports = self.ports("virtualPort")?;
        match HostName::new(&host) {
            Ok(host) => Some(VirtualEnd { host, ports }),
            Err(problem) => {
                let why = format!("virtual host {}: {problem}", quoted(&host));
                self.left_out(Kind::End, "virtualHost", &why)
            }
        }
    }

    fn internal_end(&mut self, encrypted: bool) -> Option<InternalEnd> {
        let written = self.text("localHost")?;
        let ports = self.ports("localPort")?;
        let bracketed = format!("[{written}]");
        let text = if written.parse::<core::net::Ipv6Addr>().is_ok() {
            &bracketed
        } else {
            &written
        };
        let host = match InternalHost::new(text) {
            Ok(host) => host,
            Err(problem) => {
                let why = format!("internal host {}: {problem}", quoted(&written));
                return self.left_out(Kind::End, "localHost", &why);
            }
        };
        match host.class() {
            AddressClass::Ordinary => {}
            AddressClass::Many => {
                let why = format!("internal host {} is many hosts", quoted(&written));
                return self.left_out(Kind::End, "localHost", &why);
            }
            AddressClass::Loopback
            | AddressClass::LinkLocal
            | AddressClass::Unspecified
            | AddressClass::Metadata => {
                let why = format!(
                    "internal host {} is the Cloud Connector's own machine or link, and the agent's may be another; \
                     write the backend's address, or the system by hand with allow_loopback = true",
                    quoted(&written)
                );
                return self.left_out(Kind::Loopback, "localHost", &why);
            }
        }
        Some(InternalEnd {
            host,
            ports,
            encrypted,
        })
    }

    /// A port, or `first-last`; ports are texts there, and numbers in what people write.
    fn ports(&mut self, name: &str) -> Option<PortRange> {
        let written = match self.raw.value.member(name) {
            Some(Json::Text(text)) => text.clone(),
            Some(Json::Number(Some(number))) => number.to_string(),
            Some(
                Json::Null | Json::Flag(_) | Json::Number(None) | Json::List(_) | Json::Members(_),
            )
            | None => String::new(),
        };
        let port = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let (first, last) = written.split_once('-').unwrap_or((&written, &written));
        let range = port(first).zip(port(last));
        let range = range.and_then(|(first, last)| PortRange::new(first, last));
        if range.is_none() {
            let why = format!(
                "{name} {} is neither a port from 1 to 65535 nor a range of them",
                quoted(&written)
            );
            return self.left_out(Kind::End, name, &why);
        }
        range
    }

    fn what_is_opaque(&mut self, protocol: Protocol, ports: PortRange) {
        if protocol == Protocol::Http {
            return;
        }
        self.look(
            Kind::Opaque,
            "protocol",
            "the whole port is open to every application of the subaccount; nothing of what is said there is judged, \
             neither there nor here"
                .to_owned(),
        );
        if !ports.is_one() {
            let all = u32::from(ports.width()) + 1;
            self.look(
                Kind::PortRange,
                "virtualPort",
                format!("{all} ports are open at once; write the ones that are used"),
            );
        }
    }

    fn what_is_not_carried(&mut self) {
        let mode = self.raw.value.member("authenticationMode");
        match mode.map(Json::as_text) {
            None => {}
            Some(Some("NONE" | "NONE_RESTRICTED")) => {}
            Some(Some(mode @ ("X509_GENERAL" | "X509_RESTRICTED" | "KERBEROS"))) => self.look(
                Kind::Principal,
                "authenticationMode",
                format!(
                    "principal type {mode} is not imported: adit does not carry the user's identity to the backend yet, \
                     so the backend sees requests without a user"
                ),
            ),
            Some(other) => self.look(
                Kind::UnknownValue,
                "authenticationMode",
                format!(
                    "principal type {} is not known here and not imported",
                    quoted(other.unwrap_or("of another kind than text"))
                ),
            ),
        }
        for name in [
            "sncPartnerName",
            "sapRouter",
            "allowedClients",
            "blacklistedUsers",
        ] {
            let says_something = match self.raw.value.member(name) {
                None => false,
                Some(Json::Text(text)) => !text.is_empty(),
                Some(Json::List(list)) => !list.is_empty(),
                Some(Json::Null | Json::Flag(_) | Json::Number(_) | Json::Members(_)) => true,
            };
            if says_something {
                self.look(
                    Kind::NotCarried,
                    name,
                    format!("{name} belongs to SAP RFC and is not imported"),
                );
            }
        }
    }

    /// SAP, configure-access-control-rfc: a function module is allowed by its exact name or by a prefix.
    fn function_modules(&mut self) {
        self.what_is_not_carried();
        for (place, value) in &self.raw.resources {
            let id = value.member("id").and_then(Json::as_text);
            let is_prefix = value.member("exactMatchOnly") == Some(&Json::Flag(false));
            let is_on = value.member("enabled") == Some(&Json::Flag(true));
            if let Some(id) = id.filter(|_| is_prefix && is_on) {
                self.findings.add(
                    Kind::FunctionPrefix,
                    place,
                    &format!("{} {}", self.about, cut(id)),
                    "every function module whose name begins so was allowed, also those that come with the next \
                     upgrade; not imported"
                        .to_owned(),
                );
            }
        }
    }

    fn host_header(&mut self) -> HostHeader {
        // SAP, configure-access-control-http: the virtual host is the default. Releases write either case.
        let text = self.raw.value.member("hostInHeader").map(Json::as_text);
        match text.map(|text| text.map(str::to_ascii_lowercase)) {
            None => HostHeader::Virtual,
            Some(Some(word)) if word == "virtual" => HostHeader::Virtual,
            Some(Some(word)) if word == "internal" => HostHeader::Internal,
            Some(other) => {
                self.look(
                    Kind::UnknownValue,
                    "hostInHeader",
                    format!(
                        "{} is neither virtual nor internal; imported as virtual",
                        quoted(other.as_deref().unwrap_or("another kind than text"))
                    ),
                );
                HostHeader::Virtual
            }
        }
    }

    fn are_resources_whole(&mut self) {
        let held = self.raw.resources.len();
        let total = match self.raw.value.member("totalResourcesCount") {
            Some(Json::Number(Some(total))) => usize::try_from(*total).ok(),
            _ => None,
        };
        if !self.raw.resources_known && total != Some(0) {
            let why = match total {
                Some(total) => format!("its {total} resources are"),
                None => "which resources it has is".to_owned(),
            };
            self.look(
                Kind::Incomplete,
                "resources",
                format!(
                    "{why} not in the document, so nothing of it is allowed; ask for its /resources too and put the \
                     answer there as the member `resources`"
                ),
            );
        } else if let Some(total) = total.filter(|total| *total != held) {
            self.look(
                Kind::Incomplete,
                "totalResourcesCount",
                format!(
                    "it says {total} resources and the document has {held}; only those are imported"
                ),
            );
        } else if held == 0 {
            self.look(
                Kind::NoResources,
                "",
                "it has no resources, so nothing of it was allowed, and nothing is".to_owned(),
            );
        }
    }

    fn description(&self, protocol: &str) -> String {
        let member = |name| self.raw.value.member(name).and_then(Json::as_text);
        let mut text = format!("Cloud Connector system {}, {protocol}", self.about);
        for (label, name) in [("", "backendType"), ("SID ", "sid")] {
            if let Some(value) = member(name).filter(|value| !value.is_empty()) {
                text.push_str(&format!(", {label}{}", cut(value)));
            }
        }
        if let Some(description) = member("description").filter(|text| !text.is_empty()) {
            text.push_str(&format!(": {}", cut(description)));
        }
        finding::description(text)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.raw.value.member(name) {
            Some(Json::Text(text)) if !text.is_empty() => Some(text.clone()),
            Some(Json::Text(_)) | None => {
                self.left_out(Kind::Malformed, name, &format!("`{name}` is missing"))
            }
            Some(other) => {
                let why = format!("`{name}` is {} where a text belongs", other.kind());
                self.left_out(Kind::Malformed, name, &why)
            }
        }
    }

    fn look(&mut self, kind: Kind, name: &str, text: String) {
        let place = if name.is_empty() {
            self.raw.place.clone()
        } else {
            at(&self.raw.place, name)
        };
        self.findings.add(kind, &place, &self.about, text);
    }

    /// The system is not imported; always `None`, to return.
    fn left_out<T>(&mut self, kind: Kind, name: &str, why: &str) -> Option<T> {
        let resources = match self.raw.resources.len() {
            0 => String::new(),
            1 => ", nor is its resource".to_owned(),
            count => format!(", nor are its {count} resources"),
        };
        self.look(kind, name, format!("not imported{resources}: {why}"));
        None
    }
}
