//! Addresses and networks, as `ansible.utils` filters them by the library netaddr: its queries, its limits and what it
//! takes for an address.

mod address;
mod arithmetic;
mod forms;
pub(in crate::template) mod kind;
mod mac;
mod query;
mod reach;
mod subnet;
mod within;

pub(super) use arithmetic::{ip4_hex, ipmath};
pub(super) use forms::{ipcut, ipv6form, usable_range};
pub(super) use mac::{hwaddr, macaddr, slaac};
pub(super) use query::{ipaddr, ipv4, ipv6, ipwrap};
pub(super) use subnet::{ipsubnet, next_nth_usable, nthhost, previous_nth_usable};
pub(super) use within::{cidr_merge, ip_sort, network_in_network, network_in_usable, reduce_on_network};

/// What a filter makes of these values, as text; `error` where it refuses them.
#[cfg(test)]
fn answer(
    filter: fn(&crate::template::args::Args) -> crate::template::args::R,
    values: Vec<minijinja::value::Value>,
) -> String {
    let args = crate::template::args::Args::from_values("filter", values).unwrap();
    filter(&args).map_or_else(|_| "error".to_owned(), |value| crate::template::py::str(&value))
}
