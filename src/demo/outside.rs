//! The world around the lab pod, in a namespace of its own: the remote service, a remote client, a health check.

use std::io::{self, PipeReader, Read};
use std::net::SocketAddr;
use std::thread;

use crate::sys::lab;
use crate::sys::netlink::NetlinkError;

use super::link::Network;
use super::reports::{Milestone, Reporter};
use super::ruleset::HEALTH_PORT;
use super::{http, plan};

/// Runs as the outside until the process is ended: sets its end of the link up at the first order, dials at the second.
pub(super) fn run(reporter: &Reporter, mut orders: PipeReader, families: &[bool]) -> io::Result<()> {
    let mut order = [0];
    orders.read_exact(&mut order)?;
    lab::set_name("reviews");
    configure(families).map_err(io::Error::other)?;
    let listeners: io::Result<Vec<_>> = families.iter().map(|&ipv6| lab::listen_on(plan::service(ipv6))).collect();
    let listeners = listeners?;
    lab::become_user(plan::APPLICATION_ID)?;
    for listener in listeners {
        http::serve(listener)?;
    }
    reporter.reached(Milestone::ServiceListens);
    orders.read_exact(&mut order)?;
    thread::scope(|scope| {
        for &ipv6 in families {
            let health = SocketAddr::new(plan::pod(ipv6), HEALTH_PORT);
            scope.spawn(move || dial(reporter, plan::application(ipv6), Milestone::ClientAnswered(ipv6)));
            scope.spawn(move || dial(reporter, health, Milestone::HealthAnswered(ipv6)));
        }
    });
    loop {
        thread::park();
    }
}

fn configure(families: &[bool]) -> Result<(), NetlinkError> {
    let mut network = Network::open()?;
    network.loopback_up()?;
    for &ipv6 in families {
        network.add_address(plan::outside(ipv6), plan::prefix(ipv6))?;
    }
    network.interface_up()
}

fn dial(reporter: &Reporter, destination: SocketAddr, milestone: Milestone) {
    reporter.run("the remote client", |reporter| {
        let stream = lab::connect_from(None, destination)?;
        http::ask(&stream)?;
        reporter.reached(milestone);
        http::hold(&stream);
        Ok(())
    });
}
