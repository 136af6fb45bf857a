//! Internal addresses: which of them lead back into the agent's own machine or to a cloud's secrets, and which of the
//! many spellings of an IPv4 address is the one to write.
//!
//! Names are resolved by the agent, which asks [`address_class`] about each address it is about to dial.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "who dials decides about every class by name"
)]
pub enum AddressClass {
    /// A host somewhere else.
    Ordinary,
    /// This machine: `127.0.0.0/8`, `::1`.
    Loopback,
    /// This link: `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// No host, which systems take for this machine: `0.0.0.0/8`, `::`.
    Unspecified,
    /// The metadata service of a cloud, which hands credentials to whoever asks.
    Metadata,
    /// Many hosts: multicast and broadcast. Never a backend.
    Many,
}

/// The class of `address`, an IPv4 address inside an IPv6 one being judged as the IPv4 address.
#[must_use]
pub fn address_class(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

fn class_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // AWS, Azure, GCP and most others; Alibaba; Oracle; Azure's wire server.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            AddressClass::Metadata
        }
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [0, ..] => AddressClass::Unspecified,
        [224..=239, ..] | [255, 255, 255, 255] => AddressClass::Many,
        _ => AddressClass::Ordinary,
    }
}

fn class_v6(address: Ipv6Addr) -> AddressClass {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // AWS
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => AddressClass::Metadata,
        // IPv4-mapped, IPv4-compatible, translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056)
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            class_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Many,
        _ => AddressClass::Ordinary,
    }
}

/// The IPv4 address that `text` spells in any of the ways resolvers understand (`inet_aton`): one to four parts,
/// each decimal, octal (`0177`) or hexadecimal (`0x7f`), the last one filling what is left.
pub(crate) fn any_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = [0_u32; 4];
    let mut count = 0;
    for part in text.split('.') {
        *parts.get_mut(count)? = number(part)?;
        count += 1;
    }
    let (last, leading) = parts.get(..count)?.split_last()?;
    let mut address = 0_u32;
    for part in leading {
        address = address << 8 | u32::from(u8::try_from(*part).ok()?);
    }
    let bits = 32 - 8 * u32::try_from(leading.len()).ok()?;
    let fits = bits == 32 || *last < 1 << bits;
    let filled = u64::from(address) << bits | u64::from(*last);
    u32::try_from(filled)
        .ok()
        .filter(|_| fits)
        .map(Ipv4Addr::from)
}

fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.as_bytes() {
        [b'0', b'x' | b'X', ..] => (part.get(2..)?, 16),
        [b'0', _, ..] => (part.get(1..)?, 8),
        _ => (part, 10),
    };
    // A bare `0x` is zero to inet_aton; from_str_radix would take a sign, which no address has.
    if digits.is_empty() && radix == 16 {
        return Some(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// The class of a name that is known for where it leads.
pub(crate) fn name_class(lower: &str) -> AddressClass {
    match lower {
        "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback" => {
            AddressClass::Loopback
        }
        "metadata.google.internal" | "metadata.goog" => AddressClass::Metadata,
        _ if lower.ends_with(".localhost") => AddressClass::Loopback,
        _ => AddressClass::Ordinary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        address_class(text.parse().unwrap())
    }

    #[test]
    fn p08_addresses_of_this_machine_and_of_metadata_services_are_recognised() {
        for (text, expected) in [
            ("127.0.0.1", AddressClass::Loopback),
            ("127.255.255.255", AddressClass::Loopback),
            ("::1", AddressClass::Loopback),
            ("::ffff:127.0.0.1", AddressClass::Loopback),
            ("::127.0.0.1", AddressClass::Loopback),
            ("64:ff9b::7f00:1", AddressClass::Loopback),
            ("2002:7f00:1::", AddressClass::Loopback),
            ("169.254.0.1", AddressClass::LinkLocal),
            ("::ffff:169.254.1.1", AddressClass::LinkLocal),
            ("fe80::1", AddressClass::LinkLocal),
            ("febf::1", AddressClass::LinkLocal),
            ("0.0.0.0", AddressClass::Unspecified),
            ("0.1.2.3", AddressClass::Unspecified),
            ("::", AddressClass::Unspecified),
            ("::ffff:0.0.0.0", AddressClass::Unspecified),
            ("169.254.169.254", AddressClass::Metadata),
            ("::ffff:169.254.169.254", AddressClass::Metadata),
            ("64:ff9b::a9fe:a9fe", AddressClass::Metadata),
            ("fd00:ec2::254", AddressClass::Metadata),
            ("100.100.100.200", AddressClass::Metadata),
            ("224.0.0.1", AddressClass::Many),
            ("255.255.255.255", AddressClass::Many),
            ("ff02::1", AddressClass::Many),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn p08_their_neighbours_are_ordinary() {
        for text in [
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "1.0.0.0",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "223.255.255.255",
            "240.0.0.1",
            "::ffff:10.0.0.1",
            "fe7f::1",
            "fec0::1",
            "2001:db8::1",
            "fd00::1",
            "100.100.100.201",
        ] {
            assert_eq!(class(text), AddressClass::Ordinary, "{text}");
        }
    }

    #[test]
    fn p08_every_spelling_of_an_ipv4_address_is_understood() {
        let home = Ipv4Addr::LOCALHOST;
        for text in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "0177.0.0.1",
            "0177.0x0.0.01",
            "017700000001",
            "127.0x0.1",
            "00000177.1",
        ] {
            assert_eq!(any_ipv4(text), Some(home), "{text}");
        }
        assert_eq!(any_ipv4("0"), Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(any_ipv4("0x"), Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(any_ipv4("4294967295"), Some(Ipv4Addr::BROADCAST));
        assert_eq!(any_ipv4("1.65535"), Some(Ipv4Addr::new(1, 0, 255, 255)));
        assert_eq!(
            any_ipv4("1.16777215"),
            Some(Ipv4Addr::new(1, 255, 255, 255))
        );
    }

    #[test]
    fn names_and_numbers_out_of_range_are_no_ipv4_addresses() {
        for text in [
            "",
            ".",
            "erp",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.256.1.1",
            "1.1.1.256",
            "1.1.65536",
            "1.16777216",
            "4294967296",
            "08.1.1.1",
            "1..1",
            "1.2.3.4.",
            "-1",
            "+1",
            "0xg",
            "1e3",
            "a.1",
        ] {
            assert_eq!(any_ipv4(text), None, "{text}");
        }
    }
}
