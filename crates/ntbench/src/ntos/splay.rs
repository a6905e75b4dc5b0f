//! Splay trees whose nodes are drivers' own (`RTL_SPLAY_LINKS`): the inline functions follow and set the links as well.
//!
//! `RtlSplay`, `RtlDelete`, `RtlDeleteNoSplay`, `RtlSubtreeSuccessor`, `RtlSubtreePredecessor`, `RtlRealSuccessor`, `RtlRealPredecessor`. A root is its own
//! parent.

use super::memory::Guest;

/// A node: its parent, its left child, its right child.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Node(usize);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl Node {
    fn field(self, index: usize) -> Guest<usize> {
        Guest::at(self.0.wrapping_add(index * 8))
    }

    fn slot(self, side: Side) -> Guest<usize> {
        self.field(match side {
            Side::Left => 1,
            Side::Right => 2,
        })
    }

    fn child(self, side: Side) -> Option<Self> {
        match self.slot(side).read() {
            0 => None,
            child => Some(Self(child)),
        }
    }

    /// `None`: a root.
    fn parent(self) -> Option<Self> {
        let parent = self.field(0).read();
        (parent != self.0 && parent != 0).then_some(Self(parent))
    }

    fn set_parent(self, parent: Option<Self>) {
        self.field(0).write(parent.unwrap_or(self).0);
    }

    fn set_child(self, side: Side, child: Option<Self>) {
        self.slot(side).write(child.map_or(0, |child| child.0));
        if let Some(child) = child {
            child.set_parent(Some(self));
        }
    }

    fn side_of(self, parent: Self) -> Side {
        if parent.slot(Side::Left).read() == self.0 {
            Side::Left
        } else {
            Side::Right
        }
    }

    /// The last node that way.
    fn outermost(self, side: Side) -> Self {
        let mut node = self;
        while let Some(child) = node.child(side) {
            node = child;
        }
        node
    }

    /// The neighbour that way, below it.
    fn below(self, side: Side) -> Option<Self> {
        Some(self.child(side)?.outermost(side.other()))
    }

    /// The neighbour that way, wherever it is.
    fn neighbour(self, side: Side) -> Option<Self> {
        if let Some(below) = self.below(side) {
            return Some(below);
        }
        let mut node = self;
        loop {
            let parent = node.parent()?;
            if node.side_of(parent) != side {
                return Some(parent);
            }
            node = parent;
        }
    }

    /// Puts another node, or none, into its place below its parent.
    fn replace(self, with: Option<Self>) {
        match self.parent() {
            Some(parent) => parent.set_child(self.side_of(parent), with),
            None => {
                if let Some(with) = with {
                    with.set_parent(None);
                }
            }
        }
    }

    /// Turns it over its parent.
    fn rotate(self, parent: Self) {
        let side = self.side_of(parent);
        let inner = self.child(side.other());
        parent.replace(Some(self));
        parent.set_child(side, inner);
        self.set_child(side.other(), Some(parent));
    }

    /// Makes it the root.
    fn splay(self) -> Self {
        while let Some(parent) = self.parent() {
            if let Some(grand) = parent.parent() {
                let straight = self.side_of(parent) == parent.side_of(grand);
                if straight {
                    parent.rotate(grand);
                } else {
                    self.rotate(parent);
                }
                if let Some(above) = self.parent() {
                    self.rotate(above);
                }
            } else {
                self.rotate(parent);
            }
        }
        self
    }

    fn root(self) -> Self {
        let mut node = self;
        while let Some(parent) = node.parent() {
            node = parent;
        }
        node
    }

    /// Takes it out; gives a node of what is left that is near where it was.
    fn take_out(self) -> Option<Self> {
        if self.child(Side::Left).is_some()
            && let Some(heir) = self.below(Side::Left)
        {
            // The heir leaves its place, where it has a left child at most, and takes this one.
            heir.replace(heir.child(Side::Left));
            for side in [Side::Left, Side::Right] {
                heir.set_child(side, self.child(side));
            }
            self.replace(Some(heir));
            return Some(heir);
        }
        let child = self.child(Side::Right);
        let parent = self.parent();
        self.replace(child);
        parent.or(child)
    }
}

fn address(node: Option<Node>) -> usize {
    node.map_or(0, |node| node.0)
}

exports! { "ntoskrnl.exe";
    /// Makes a node the root of its tree.
    fn RtlSplay(links: usize) -> usize {
        Node(links).splay().0
    }

    /// Takes a node out and gives the tree's root; NULL: none is left.
    fn RtlDelete(links: usize) -> usize {
        address(Node(links).take_out().map(Node::splay))
    }

    /// Takes a node out and leaves the others where they are.
    fn RtlDeleteNoSplay(links: usize, root: Guest<usize>) {
        root.read();
        root.write(address(Node(links).take_out().map(Node::root)));
    }

    /// The next node in order, of those below one.
    fn RtlSubtreeSuccessor(links: usize) -> usize {
        address(Node(links).below(Side::Right))
    }

    /// The one before it, of those below it.
    fn RtlSubtreePredecessor(links: usize) -> usize {
        address(Node(links).below(Side::Left))
    }

    /// The next node in order.
    fn RtlRealSuccessor(links: usize) -> usize {
        address(Node(links).neighbour(Side::Right))
    }

    /// The one before it.
    fn RtlRealPredecessor(links: usize) -> usize {
        address(Node(links).neighbour(Side::Left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_outlives_splays_and_deletions() {
        const COUNT: usize = 64;
        let mut nodes = vec![[0_usize; 3]; COUNT];
        let base = nodes.as_mut_ptr().expose_provenance();
        let node = |index: usize| Node(base + index * 24);
        for index in 0..COUNT {
            node(index).set_parent(None);
        }
        for index in 1..COUNT {
            node(index - 1).set_child(Side::Right, Some(node(index)));
        }
        let mut left: Vec<usize> = (0..COUNT).collect();
        let mut random = 12345_u64;
        while !left.is_empty() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let pick = (random >> 33) as usize % left.len();
            assert!(node(left[pick]).splay().parent().is_none());
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let gone = left.remove((random >> 33) as usize % left.len());
            let rest = node(gone).take_out();
            assert_eq!(rest.is_none(), left.is_empty());
            let Some(rest) = rest else { break };
            let mut seen = vec![];
            let mut at = Some(rest.root().outermost(Side::Left));
            while let Some(now) = at {
                seen.push((now.0 - base) / 24);
                at = now.neighbour(Side::Right);
            }
            assert_eq!(seen, left);
            let mut at = Some(rest.root().outermost(Side::Right));
            while let Some(now) = at {
                assert_eq!(Some((now.0 - base) / 24), seen.pop());
                at = now.neighbour(Side::Left);
            }
        }
    }
}
