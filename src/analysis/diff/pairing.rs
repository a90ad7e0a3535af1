//! Which workload of one listing is which of another: by name, and where a pod was started anew, by the name of what it is made from.

use std::collections::BTreeMap;

use crate::model::{Kind, Workload};

/// Which of the first stands beside which of the second, by their places; and those of either that stand alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paired {
    /// Of the first and of the second.
    pub both: Vec<(usize, usize)>,
    /// Only of the first.
    pub gone: Vec<usize>,
    /// Only of the second.
    pub appeared: Vec<usize>,
}

/// Pairs workloads. Those of the same name belong together; of the others, pods that one Deployment, DaemonSet or Job has made, in the
/// order of their names.
#[must_use]
pub fn paired(first: &[&Workload], second: &[&Workload]) -> Paired {
    let mut found = Paired::default();
    let (mut left, mut right): (Vec<usize>, Vec<usize>) = ((0..first.len()).collect(), (0..second.len()).collect());
    for key in [whole, pattern] as [fn(&Workload) -> Key; 2] {
        let mut there: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        let name = |workloads: &[&Workload], at: &usize| workloads.get(*at).map(|workload| workload.name.clone());
        right.sort_by_key(|at| std::cmp::Reverse(name(second, at)));
        for at in &right {
            there.entry(second.get(*at).map(|workload| key(workload)).unwrap_or_default()).or_default().push(*at);
        }
        left.sort_by_key(|at| name(first, at));
        left.retain(|at| {
            let other = first.get(*at).and_then(|workload| there.get_mut(&key(workload))).and_then(Vec::pop);
            found.both.extend(other.map(|other| (*at, other)));
            other.is_none()
        });
        right.retain(|at| !found.both.iter().any(|(_, other)| other == at));
    }
    left.sort_unstable();
    right.sort_unstable();
    found.both.sort_unstable();
    Paired { gone: left, appeared: right, ..found }
}

/// Kind, namespace, name.
type Key = (&'static str, String, String);

fn whole(workload: &Workload) -> Key {
    (workload.kind.word(), workload.namespace.clone().unwrap_or_default(), workload.name.clone())
}

fn pattern(workload: &Workload) -> Key {
    let (kind, namespace, _) = whole(workload);
    (kind, namespace, maker(workload))
}

/// The name of what has made a pod: `web` of `web-6b746f74dc-9rlmh`.
fn maker(workload: &Workload) -> String {
    let name = workload.name.as_str();
    if workload.kind != Kind::Pod {
        return name.to_owned();
    }
    // Kubernetes adds five characters of an alphabet without vowels and what looks like others (`rand.SafeEncodeString`).
    let made = |part: &str| part.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte));
    let Some((stem, _)) = name.rsplit_once('-').filter(|(_, last)| last.len() == 5 && made(last)) else {
        return name.to_owned();
    };
    // A Deployment's pods bear the hash of their template, which their label tells; without it, it looks like one.
    let told = workload.labels.get("pod-template-hash");
    let hash = |part: &str| told.map_or_else(|| (6..=10).contains(&part.len()) && made(part), |told| told == part);
    match stem.rsplit_once('-') {
        Some((owner, last)) if hash(last) => owner.to_owned(),
        _ => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Workload {
        Workload { namespace: Some("shop".to_owned()), ..Workload::named(Kind::Pod, name) }
    }

    #[test]
    fn names_tell_what_has_made_a_pod() {
        for (name, made) in [
            ("web-6b746f74dc-9rlmh", "web"),
            ("web-9rlmh", "web"),
            ("db-0", "db-0"),
            ("productpage-v1-6b746f74dc-9rlmh", "productpage-v1"),
            ("istio-cni-node-x5zcq", "istio-cni-node"),
            ("node-agent", "node-agent"),
        ] {
            assert_eq!(maker(&pod(name)), made, "{name}");
        }
        let mut labelled = pod("web-6b746f74dc-9rlmh");
        labelled.labels.insert("pod-template-hash".to_owned(), "other".to_owned());
        assert_eq!(maker(&labelled), "web-6b746f74dc");
    }

    #[test]
    fn whoever_was_started_anew_is_who_it_was() {
        let before = ["db-0", "web-6b746f74dc-9rlmh", "web-6b746f74dc-24bcd", "gone"].map(pod);
        let after = ["web-7c5ddbdf54-zzzzz", "new", "web-6b746f74dc-24bcd", "db-0"].map(pod);
        let paired = paired(&before.each_ref(), &after.each_ref());
        assert_eq!(paired, Paired { both: vec![(0, 3), (1, 0), (2, 2)], gone: vec![3], appeared: vec![1] });
    }
}
