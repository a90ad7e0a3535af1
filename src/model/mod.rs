//! Plain values: what is known of a workload and its namespace. No input, no output, no judgement.

mod connection;
mod endpoint;
mod flow;
mod flow_filter;
mod ids;
mod interface;
mod ipsets;
mod observed;
mod printed;
mod routes;
mod ruleset;
mod settings;
mod snapshot;
mod socket;
mod tracking;
mod unread;
mod workload;

pub use crate::nft::{
    Element as NativeElement, Expression as NativeExpression, Extra, FlowTable, Object as NativeObject,
    Rule as NativeRule, Set as NativeSet,
};
pub use crate::packet::{exact_bytes, exact_text, name_order, stray_byte};
pub use crate::xt::ipset::IpSet;
pub use connection::{Descriptors, Process};
pub use endpoint::{Endpoint, Protocol};
pub use flow::{Adjustment, Flow, FlowDetails, Icmp, Side, SynProxy, TcpSide, Transport, Tuple, UnknownPart};
pub use flow_filter::{FlowEnd, FlowFilter};
pub use ids::{IdMaps, IdRange};
pub use interface::Interface;
pub use observed::{GoneSocket, Happening, Observed};
pub use printed::Printed;
pub use routes::{Network, NextHop, OwnAddress, PolicyRule, Route, RouteKind, Routing, RoutingSettings, RuleAction};
pub use ruleset::{
    Backend, Body, Chain, Counters, Family, Hook, Policy, Rule, RuleRef, Ruleset, SavedRules, Syntax, Table,
};
pub use settings::{KernelSupport, LockHolder, Settings};
pub use snapshot::{Resolver, Snapshot};
pub use socket::{
    OtherSocket, PacketSocket, Socket, SocketDetails, SocketState, TcpFigures, Timer, TimerKind, UnixSocket,
};
pub use tracking::{CpuStatistics, Expectation, TableUse, TrackingState};
pub use unread::{Cause, Subject, Unread};
pub use workload::{Container, DeclaredPort, Kind, NetnsId, Workload};
