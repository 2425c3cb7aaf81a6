//! Votes: which part of a cluster may go on alone.

/// Votes of a component, by weight (`pc.weight`, 1 unless set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// Of the last Primary component.
    pub before: u32,
    /// Of those that left it with a goodbye.
    pub left: u32,
    /// Of those that are still together.
    pub present: u32,
}

/// Whether the members that are present stay Primary: twice their weight must be more than that of the last Primary
/// component without those that said goodbye.
pub fn stays_primary(votes: Votes) -> bool {
    2 * votes.present > votes.before.saturating_sub(votes.left)
}

/// How many members of `size` (all of weight 1) may be lost suddenly while `leaving` of them are gracefully out.
pub fn sudden_losses_tolerated(size: u32, leaving: u32) -> u32 {
    let remaining = size.saturating_sub(leaving);
    (0..=remaining)
        .rev()
        .find(|lost| stays_primary(Votes { before: remaining, left: 0, present: remaining - lost }))
        .unwrap_or(0)
}

/// A voter of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its host.
    pub name: String,
    /// Its votes (`pc.weight`).
    pub weight: u32,
    /// Its data centre (`gmcast.segment`, or a name).
    pub datacenter: String,
    /// It only votes, and holds no data.
    pub arbitrator: bool,
}

/// Who votes in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// All of them.
    pub voters: Vec<Voter>,
}

impl Topology {
    /// Data nodes of one vote each, and arbitrators, all in one data centre.
    pub fn plain(nodes: u32, arbitrators: u32) -> Topology {
        let voter = |name: String, arbitrator| Voter { name, weight: 1, datacenter: String::new(), arbitrator };
        let voters = (1..=nodes).map(|n| voter(format!("node{n}"), false));
        Topology { voters: voters.chain((1..=arbitrators).map(|n| voter(format!("garbd{n}"), true))).collect() }
    }

    fn weight(&self, of: &dyn Fn(&Voter) -> bool) -> u32 {
        self.voters.iter().filter(|voter| of(voter)).map(|voter| voter.weight).sum()
    }

    /// Whether the rest stays Primary, when `left` have said goodbye and `lost` vanish after that, all at once. Without
    /// a data node among the rest there is no cluster to speak of.
    pub fn survives(&self, left: &[&str], lost: &[&str]) -> bool {
        let gone = |voter: &Voter| left.contains(&voter.name.as_str()) || lost.contains(&voter.name.as_str());
        let votes = Votes {
            before: self.weight(&|_| true),
            left: self.weight(&|voter| left.contains(&voter.name.as_str())),
            present: self.weight(&|voter| !gone(voter)),
        };
        stays_primary(votes) && self.voters.iter().any(|voter| !voter.arbitrator && !gone(voter))
    }

    /// How many voters may vanish at once, whichever they are, while `left` have said goodbye.
    pub fn losses_tolerated(&self, left: &[&str]) -> u32 {
        let mut rest: Vec<&Voter> = self.voters.iter().filter(|voter| !left.contains(&voter.name.as_str())).collect();
        // The worst case: the heaviest first; among equals those with data, without which nothing is left.
        rest.sort_by_key(|voter| (std::cmp::Reverse(voter.weight), voter.arbitrator));
        let mut lost: Vec<&str> = Vec::new();
        for voter in rest {
            lost.push(&voter.name);
            if !self.survives(left, &lost) {
                return lost.len() as u32 - 1;
            }
        }
        lost.len() as u32
    }

    /// Whether the rest stays Primary when a whole data centre vanishes, while `left` have said goodbye.
    pub fn survives_datacenter(&self, datacenter: &str, left: &[&str]) -> bool {
        let there = self.voters.iter().filter(|v| v.datacenter == datacenter && !left.contains(&v.name.as_str()));
        let lost: Vec<&str> = there.map(|voter| voter.name.as_str()).collect();
        self.survives(left, &lost)
    }

    /// How many data nodes may be out at the same time by our hand: as many as could be lost without warning, so that a
    /// mistake costs no quorum; at least one, as long as another one stays.
    pub fn slack(&self) -> u32 {
        let nodes = self.voters.iter().filter(|voter| !voter.arbitrator).count() as u32;
        self.losses_tolerated(&[]).max(1).min(nodes.saturating_sub(1))
    }

    /// Why `names` may not all be taken out gracefully, as a sentence; nothing when they may.
    pub fn refusal(&self, names: &[&str]) -> Option<String> {
        let nodes: Vec<&Voter> = self.voters.iter().filter(|voter| !voter.arbitrator).collect();
        if let Some(stranger) = names.iter().find(|name| !self.voters.iter().any(|voter| voter.name == **name)) {
            return Some(format!("{stranger} is not a member"));
        }
        let staying = nodes.iter().filter(|voter| !names.contains(&voter.name.as_str())).count();
        if staying == 0 {
            return Some("nobody with data would be left".into());
        }
        let out = names.iter().filter(|name| nodes.iter().any(|voter| voter.name == **name)).count() as u32;
        if out > self.slack() {
            return Some(format!(
                "{out} of {} data nodes at once are more than the {} that the quorum can spare",
                nodes.len(),
                self.slack()
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        for (before, left, present, expected) in [
            (3, 0, 2, true),
            (3, 0, 1, false), // two killed
            (3, 2, 1, true),  // two left gracefully
            (2, 0, 1, false),
            (2, 1, 1, true),
            (4, 0, 2, false),
            (5, 0, 3, true),
        ] {
            assert_eq!(stays_primary(Votes { before, left, present }), expected, "{before} {left} {present}");
        }
    }

    #[test]
    fn slack() {
        for (size, expected) in [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
            assert_eq!(Topology::plain(size, 0).slack(), expected, "{size}");
            // Whoever vanishes within the slack, the rest goes on.
            assert!(size < 3 || stays_primary(Votes { before: size, left: 0, present: size - expected }));
        }
    }

    #[test]
    fn losses() {
        for (size, leaving, expected) in
            [(1, 0, 0), (2, 0, 0), (2, 1, 0), (3, 0, 1), (3, 1, 0), (4, 0, 1), (4, 1, 1), (5, 0, 2), (5, 1, 1)]
        {
            assert_eq!(sudden_losses_tolerated(size, leaving), expected, "{size} {leaving}");
        }
    }

    /// Two data centres of so many nodes, and an arbitrator in a third one where there is one.
    fn two(nodes: u32, arbitrator: bool) -> Topology {
        let voter = |name: String, datacenter: &str, arbitrator| Voter {
            name,
            weight: 1,
            datacenter: datacenter.into(),
            arbitrator,
        };
        let mut voters = Vec::new();
        for datacenter in ["east", "west"] {
            voters.extend((1..=nodes).map(|n| voter(format!("{datacenter}{n}"), datacenter, false)));
        }
        voters.extend(arbitrator.then(|| voter("garbd".into(), "third", true)));
        Topology { voters }
    }

    #[test]
    fn topologies() {
        // Nodes, arbitrators; tolerated losses with all there, with one node gracefully out, with two out; slack.
        for (nodes, arbitrators, all, one, pair, slack) in [
            (2, 0, 0, 0, 0, 1),
            (2, 1, 1, 0, 0, 1),
            (3, 0, 1, 0, 0, 1),
            (3, 1, 1, 1, 0, 1),
            (4, 0, 1, 1, 0, 1),
            (5, 0, 2, 1, 1, 2),
            (5, 1, 2, 2, 1, 2),
        ] {
            let cluster = Topology::plain(nodes, arbitrators);
            let tolerated = [&[][..], &["node1"], &["node1", "node2"]].map(|left| cluster.losses_tolerated(left));
            assert_eq!((tolerated, cluster.slack()), ([all, one, pair], slack), "{nodes}+{arbitrators}");
        }
    }

    #[test]
    fn graceful_leaving_never_costs_the_quorum() {
        for nodes in 2..=7 {
            for arbitrators in 0..=1 {
                let cluster = Topology::plain(nodes, arbitrators);
                let names: Vec<String> = (1..nodes).map(|n| format!("node{n}")).collect();
                let left: Vec<&str> = names.iter().map(String::as_str).collect();
                assert!(cluster.survives(&left, &[]), "{nodes}+{arbitrators}");
                // With the last one nothing that has data is left.
                let last = format!("node{nodes}");
                let all: Vec<&str> = left.iter().copied().chain([last.as_str()]).collect();
                assert!(!cluster.survives(&all, &[]), "{nodes}+{arbitrators}");
            }
        }
    }

    #[test]
    fn two_data_centres() {
        // Without an arbitrator neither half may go on alone.
        let bare = two(3, false);
        assert!(!bare.survives_datacenter("east", &[]) && !bare.survives_datacenter("west", &[]));
        let cluster = two(3, true);
        assert!(cluster.survives_datacenter("east", &[]) && cluster.survives_datacenter("west", &[]));
        // A node that is out weakens its own side: the other data centre may be lost then only if the rest is more.
        assert!(cluster.survives_datacenter("east", &["east1"]));
        assert!(!cluster.survives_datacenter("east", &["west1"]), "2 of west and garbd are 3 of 6");
        assert!(!cluster.survives_datacenter("east", &["garbd"]), "without the arbitrator it is a half");
        assert!(!cluster.survives(&[], &["east1", "east2", "east3", "garbd"]));
        assert_eq!((cluster.losses_tolerated(&[]), bare.losses_tolerated(&[])), (3, 2));
    }

    #[test]
    fn weights() {
        // A tie is broken by a heavier node; whoever has it wins.
        let mut cluster = Topology::plain(2, 0);
        cluster.voters[0].weight = 2;
        assert!(cluster.survives(&[], &["node2"]) && !cluster.survives(&[], &["node1"]));
        assert_eq!(cluster.losses_tolerated(&[]), 0);
        assert!(cluster.survives(&["node1"], &[]), "it may still leave with a goodbye");
        // A node without a vote hurts nobody when it fails to come back.
        let mut cluster = Topology::plain(3, 0);
        cluster.voters[2].weight = 0;
        assert!(cluster.survives(&[], &["node3"]) && !cluster.survives(&[], &["node1"]));
        // One that outweighs the others takes the slack that five would have.
        let mut cluster = Topology::plain(5, 0);
        cluster.voters[0].weight = 3;
        assert_eq!((Topology::plain(5, 0).slack(), cluster.slack()), (2, 1));
        assert!(cluster.refusal(&["node1", "node2"]).unwrap().contains("2 of 5"));
    }

    #[test]
    fn what_may_be_taken_out() {
        let cluster = Topology::plain(5, 0);
        assert_eq!(cluster.refusal(&["node1", "node2"]), None);
        assert!(cluster.refusal(&["node1", "node2", "node3"]).unwrap().contains("3 of 5"));
        let cluster = Topology::plain(2, 1);
        assert_eq!(cluster.refusal(&["node1"]), None);
        assert!(cluster.refusal(&["node1", "node2"]).unwrap().contains("nobody with data"));
        assert!(cluster.refusal(&["node9"]).unwrap().contains("node9"));
        assert!(Topology::plain(1, 0).refusal(&["node1"]).is_some());
    }
}
