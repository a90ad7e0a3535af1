//! The kernel as the oracle of `trace`: random rules, random packets, and what really becomes of each.

mod stage;
