// SPDX-License-Identifier: Apache-2.0
//! Which namespace was made in which: of the two kinds that have a hierarchy.

use std::collections::BTreeMap;

use kernel::Result;
use kernel::idmap::Map;
use kernel::types::NamespaceKind;

use super::scan::{Key, Processes, Scan};
use super::view::{Hidden, NamespaceRow, TreeNode};

/// Of a namespace's processes so many are shown.
pub const SHOWN: usize = 8;

pub(super) fn tree(kind: NamespaceKind, groups: &[(String, String)]) -> Result<(Vec<TreeNode>, Hidden)> {
    let mut scan = Scan::new(Some(kind))?;
    scan.ask();
    let mut seen = Processes::default();
    let mut keys: Vec<Key> = scan.found.keys().copied().filter(|(one, _)| *one == kind).collect();
    keys.sort_unstable();
    let rows: Vec<NamespaceRow> = keys.into_iter().filter_map(|key| scan.row(key, groups, &mut seen)).collect();
    let mut by_parent: BTreeMap<Option<u64>, Vec<TreeNode>> = BTreeMap::new();
    let is_there = |inode: u64| rows.iter().any(|row| row.inode == inode);
    for row in &rows {
        let is_user = kind == NamespaceKind::User;
        let maps = row.oldest.as_ref().filter(|_| is_user).and_then(|oldest| kernel::idmap::of(oldest.pid).ok());
        let mut members = scan.members.remove(&row.inode).unwrap_or_default();
        members.sort_unstable();
        let members = members.into_iter().take(SHOWN).filter_map(|(_, pid)| scan.brief(pid)).collect();
        let (users, groups) =
            maps.as_ref().map_or((None, None), |(users, groups)| (Some(lines(users)), Some(lines(groups))));
        let owns = is_user.then(|| scan.owned_by(row.inode));
        let node = TreeNode { namespace: row.clone(), users, groups, owns, members, children: Vec::new() };
        by_parent.entry(row.parent.filter(|parent| is_there(*parent))).or_default().push(node);
    }
    let roots = by_parent.remove(&None).unwrap_or_default();
    Ok((roots.into_iter().map(|root| grow(root, &mut by_parent)).collect(), scan.hidden()))
}

pub(super) fn lines(map: &Map) -> Vec<[u32; 3]> {
    map.ranges().iter().map(|range| [range.inside, range.outside, range.count]).collect()
}

/// The kernel has at most 32 levels.
fn grow(mut node: TreeNode, by_parent: &mut BTreeMap<Option<u64>, Vec<TreeNode>>) -> TreeNode {
    let children = by_parent.remove(&Some(node.namespace.inode)).unwrap_or_default();
    node.children = children.into_iter().map(|child| grow(child, by_parent)).collect();
    node
}
