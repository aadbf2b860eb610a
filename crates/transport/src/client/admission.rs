//! Who may connect now: counts per address and in total, attempts per address and second.
//!
//! Guarantees: the table of addresses is bounded; an address without connections that has not tried for a
//! second costs nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::limits::ClientLimits;
use crate::refusal::TransportRefusal;

/// Most addresses remembered.
const ADDRESSES_MAX: usize = 1 << 14;

#[derive(Debug)]
struct Address {
    connections: usize,
    /// Attempts it may still make, as of `counted_at`.
    attempts: f64,
    counted_at: Instant,
}

#[derive(Debug, Default)]
struct Table {
    connections: usize,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
pub(crate) struct Admission {
    connections_max: usize,
    per_address_max: usize,
    attempts_per_second: f64,
    table: Mutex<Table>,
}

/// A place for one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &ClientLimits) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            attempts_per_second: f64::from(limits.attempts_per_address_per_second),
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connections(&self) -> usize {
        self.table().connections
    }

    /// Takes a place for a connection from `ip`, or says which limit forbids it.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, now: Instant) -> Result<Admitted, TransportRefusal> {
        let address = block_of(ip);
        let mut table = self.table();
        if table.connections >= self.connections_max {
            return Err(TransportRefusal::ConnectionsFull);
        }
        if table.addresses.len() >= ADDRESSES_MAX && !table.addresses.contains_key(&address) {
            table.addresses.retain(|_, held| held.connections > 0 || now.duration_since(held.counted_at).as_secs() < 1);
            if table.addresses.len() >= ADDRESSES_MAX {
                return Err(TransportRefusal::AddressRate);
            }
        }
        let full = Address { connections: 0, attempts: self.attempts_per_second, counted_at: now };
        let held = table.addresses.entry(address).or_insert(full);
        let elapsed = now.duration_since(held.counted_at).as_secs_f64();
        held.attempts = (held.attempts + elapsed * self.attempts_per_second).min(self.attempts_per_second);
        held.counted_at = now;
        if held.attempts < 1.0 {
            return Err(TransportRefusal::AddressRate);
        }
        held.attempts -= 1.0;
        if held.connections >= self.per_address_max {
            return Err(TransportRefusal::AddressConnections);
        }
        held.connections += 1;
        table.connections += 1;
        drop(table);
        Ok(Admitted { admission: Arc::clone(self), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut table = self.admission.table();
        table.connections -= 1;
        if let Some(held) = table.addresses.get_mut(&self.address) {
            held.connections -= 1;
        }
    }
}

/// What counts as one address: an IPv6 host has a /64 to itself.
fn block_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission() -> Arc<Admission> {
        let limits = ClientLimits {
            connections_max: 3,
            connections_per_address_max: 2,
            attempts_per_address_per_second: 4,
            ..ClientLimits::default()
        };
        Arc::new(Admission::new(&limits))
    }

    #[test]
    fn connections_are_limited_per_address_and_in_total() {
        let (admission, now) = (admission(), Instant::now());
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = admission.admit(one, now).unwrap();
        let _second = admission.admit(one, now).unwrap();
        assert_eq!(admission.admit(one, now).unwrap_err(), TransportRefusal::AddressConnections);
        let _third = admission.admit(two, now).unwrap();
        assert_eq!(admission.admit(two, now).unwrap_err(), TransportRefusal::ConnectionsFull);
        drop(first);
        assert_eq!(admission.connections(), 2);
        admission.admit(two, now).unwrap();
    }

    #[test]
    fn attempts_are_limited_per_second() {
        let (admission, now) = (admission(), Instant::now());
        let ip = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..4 {
            admission.admit(ip, now).unwrap();
        }
        assert_eq!(admission.admit(ip, now).unwrap_err(), TransportRefusal::AddressRate);
        admission.admit(ip, now + Duration::from_millis(300)).unwrap();
        assert_eq!(admission.admit(ip, now + Duration::from_millis(300)).unwrap_err(), TransportRefusal::AddressRate);
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_address_is_ipv4() {
        let block = |text: &str| block_of(text.parse().unwrap());
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_eq!(block("::ffff:10.0.0.1"), block("10.0.0.1"));
    }
}
