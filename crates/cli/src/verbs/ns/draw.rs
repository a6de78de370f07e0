// SPDX-License-Identifier: Apache-2.0
//! Trees of namespaces as pictures: a graph for Graphviz, and an SVG that needs nothing else. What processes call themselves is
//! anybody's choice: it is text in both, never markup.

use std::fmt::Write;

use engine::namespaces::TreeNode;

use super::tree::{facts, maps, members};

/// Sizes, in pixels.
const WIDTH: usize = 350;
const GAP: usize = 70;
const LINE: usize = 17;
const BETWEEN: usize = 16;
const MARGIN: usize = 28;
const TITLE: usize = 56;

/// Characters of a command that fit into a box.
const COMMAND: usize = 36;

/// Lines of processes in a box.
const MEMBERS: usize = 4;

/// A graph in the DOT language.
pub(super) fn dot(roots: &[TreeNode]) -> String {
    let mut text = String::from(
        "digraph namespaces {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"monospace\", fontsize=10];\n",
    );
    for root in roots {
        dot_node(root, &mut text);
    }
    text.push_str("}\n");
    text
}

fn dot_node(node: &TreeNode, text: &mut String) {
    let inode = node.namespace.inode;
    let lines: Vec<String> = content(node).into_iter().map(|(_, line)| quoted(&line)).collect();
    // A line ends to the left: `\l`.
    let label: String = lines.iter().map(|line| format!("{line}\\l")).collect();
    let _ = writeln!(text, "  \"{inode}\" [label=\"{label}\"];");
    for child in &node.children {
        let _ = writeln!(text, "  \"{inode}\" -> \"{}\";", child.namespace.inode);
        dot_node(child, text);
    }
}

/// Within quotes of DOT.
fn quoted(text: &str) -> String {
    crate::output::plain(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// Within an element of XML; what XML can not have at all is left out by then.
fn escaped(text: &str) -> String {
    let is_allowed = |c: &char| !matches!(*c, '\u{fffe}' | '\u{ffff}');
    crate::output::plain(text).chars().filter(is_allowed).fold(String::new(), |mut all, c| {
        match c {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            other => all.push(other),
        }
        all
    })
}

/// What kind of line it is, as a class of the picture's style.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Name,
    Owner,
    Fact,
    Map,
    Process,
}

impl Class {
    const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Owner => "owner",
            Self::Fact => "fact",
            Self::Map => "map",
            Self::Process => "process",
        }
    }
}

/// The lines of a box.
fn content(node: &TreeNode) -> Vec<(Class, String)> {
    let row = &node.namespace;
    let mut lines = vec![(Class::Name, format!("{}:[{}]", row.kind, row.inode))];
    lines.extend(row.container.as_ref().map(|owner| (Class::Owner, super::cut(&owner.text(), COMMAND))));
    lines.push((Class::Fact, facts(node).join(" · ")));
    lines.extend(maps(node).into_iter().flat_map(wrapped).map(|line| (Class::Map, line)));
    let all = members(node, COMMAND);
    let left = usize::try_from(row.processes).unwrap_or(0);
    lines.extend(all.iter().take(MEMBERS).map(|line| (Class::Process, super::cut(line, COMMAND + 8))));
    if all.len() > MEMBERS && left > MEMBERS {
        lines.push((Class::Process, format!("… and {} more", left - MEMBERS)));
    }
    lines
}

/// A map of many ranges takes more than one line, but no more than three.
fn wrapped(text: String) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < COMMAND + 6 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    if lines.len() > 3 {
        let more = lines.len() - 2;
        lines.truncate(2);
        lines.push(format!("… and {more} lines more"));
    }
    lines
}

/// A box where it is.
struct Placed {
    x: usize,
    y: usize,
    height: usize,
    container: bool,
    lines: Vec<(Class, String)>,
    /// Indices of those below it.
    children: Vec<usize>,
}

impl Placed {
    const fn middle(&self) -> usize {
        self.y + self.height / 2
    }
}

/// Puts leaves below each other, and each parent to the middle of its children; gives the node's index and the next free line.
fn place(node: &TreeNode, depth: usize, top: usize, all: &mut Vec<Placed>) -> (usize, usize) {
    let lines = content(node);
    let height = lines.len() * LINE + 16;
    let index = all.len();
    let x = MARGIN + depth * (WIDTH + GAP);
    let container = node.namespace.container.is_some();
    all.push(Placed { x, y: top, height, container, lines, children: Vec::new() });
    let (mut free, mut children) = (top, Vec::new());
    for child in &node.children {
        let (child, next) = place(child, depth + 1, free, all);
        children.push(child);
        free = next;
    }
    let middle = |index: Option<&usize>| index.and_then(|index| all.get(*index)).map(Placed::middle);
    if let (Some(first), Some(last)) = (middle(children.first()), middle(children.last()))
        && let Some(placed) = all.get_mut(index)
    {
        placed.y = ((first + last) / 2).saturating_sub(height / 2).max(top);
    }
    let end = all.get(index).map_or(top, |placed| placed.y + placed.height + BETWEEN);
    if let Some(placed) = all.get_mut(index) {
        placed.children = children;
    }
    (index, end.max(free))
}

/// A picture by itself; light or dark as its reader is.
pub(super) fn svg(kind: &str, roots: &[TreeNode]) -> String {
    let (mut all, mut top) = (Vec::new(), MARGIN + TITLE);
    for root in roots {
        (_, top) = place(root, 0, top, &mut all);
    }
    let width = all.iter().map(|placed| placed.x + WIDTH).max().unwrap_or(WIDTH) + MARGIN;
    let height = all.iter().map(|placed| placed.y + placed.height).max().unwrap_or(top) + MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{kind} namespaces</title>\n{STYLE}\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{kind} namespaces</text>\n\
         <text class=\"fact\" x=\"{MARGIN}\" y=\"{}\">{} of them; each was made in the one to its left</text>\n",
        MARGIN + 14,
        MARGIN + 34,
        all.len()
    );
    for placed in &all {
        for child in placed.children.iter().filter_map(|child| all.get(*child)) {
            let (from, to) = ((placed.x + WIDTH, placed.middle()), (child.x, child.middle()));
            let bend = from.0 + GAP / 2;
            let _ = writeln!(
                text,
                "<path class=\"edge\" d=\"M{} {} C{bend} {} {bend} {} {} {}\"/>",
                from.0, from.1, from.1, to.1, to.0, to.1
            );
        }
    }
    for placed in &all {
        draw_box(placed, &mut text);
    }
    text.push_str("</svg>\n");
    text
}

fn draw_box(placed: &Placed, text: &mut String) {
    let Placed { x, y, height, container, lines, .. } = placed;
    let class = if *container { "box container" } else { "box" };
    let _ =
        writeln!(text, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>");
    for (index, (class, line)) in lines.iter().enumerate() {
        let (left, base) = (x + 12, y + 8 + LINE * index + 12);
        let _ = writeln!(text, "<text class=\"{}\" x=\"{left}\" y=\"{base}\">{}</text>", class.word(), escaped(line));
    }
}

const STYLE: &str = "<style>\n\
    .paper{fill:#fbfaf7}.edge{fill:none;stroke:#b8b2a6;stroke-width:1.5}\n\
    .box{fill:#fff;stroke:#cfc9bd}.container{stroke:#2f7d6b;stroke-width:1.5}\n\
    text{font-family:ui-monospace,SFMono-Regular,Menlo,\"DejaVu Sans Mono\",monospace;font-size:11.5px;fill:#2b2a27;white-space:pre}\n\
    .title{font-family:system-ui,\"DejaVu Sans\",sans-serif;font-size:18px;font-weight:600}\n\
    .name{font-weight:600}.owner{fill:#2f7d6b;font-weight:600}.fact{fill:#6d685e}.map{fill:#8a5a16}.process{fill:#4a4740}\n\
    @media (prefers-color-scheme:dark){.paper{fill:#1d1c1a}.edge{stroke:#5c584f}.box{fill:#272623;stroke:#45423b}.container{stroke:#5cb8a2}\n\
    text{fill:#eceae4}.owner{fill:#5cb8a2}.fact{fill:#a39d91}.map{fill:#d9a55b}.process{fill:#c9c5bb}}\n\
    </style>\n";

#[cfg(test)]
mod tests {
    use super::*;
    use engine::namespaces::{NamespaceRow, ProcessBrief};
    use proptest::prelude::*;

    fn node(inode: u64, command: &str, children: Vec<TreeNode>) -> TreeNode {
        let brief = ProcessBrief { pid: 7, uid: 0, command: command.to_owned() };
        let namespace = NamespaceRow {
            kind: "user",
            inode,
            owner: None,
            creator: Some(0),
            parent: None,
            processes: 1,
            oldest: Some(brief.clone()),
            container: None,
            kept: Vec::new(),
        };
        let map = Some(vec![[0, 100_000, 65_536]]);
        TreeNode { namespace, users: map.clone(), groups: map, owns: Some(2), members: vec![brief], children }
    }

    #[test]
    fn what_a_process_calls_itself_is_no_markup() {
        let root = node(1, "</text><script>\"&\u{1b}[31m\n\u{ffff}", vec![node(2, "x\\\"]; }", Vec::new())]);
        let picture = svg("user", std::slice::from_ref(&root));
        assert!(
            !picture.contains("<script") && picture.contains("&lt;script&gt;&quot;&amp;\u{fffd}[31m "),
            "{picture}"
        );
        assert!(!picture.contains('\u{1b}') && !picture.contains('\u{ffff}'));
        let graph = dot(&[root]);
        assert!(graph.contains("x\\\\\\\"]; }"), "{graph}");
        assert!(graph.contains("\"1\" -> \"2\";"));
    }

    #[test]
    fn no_two_boxes_overlap() {
        let children = (2..9)
            .map(|n| node(n, "sleep", (0..n % 3).map(|m| node(100 + n * 10 + m, "x", Vec::new())).collect()))
            .collect();
        let mut all = Vec::new();
        let (_, end) = place(&node(1, "init", children), 0, 0, &mut all);
        for (index, one) in all.iter().enumerate() {
            assert!(one.y + one.height <= end);
            for other in all.iter().skip(index + 1).filter(|other| other.x == one.x) {
                assert!(one.y + one.height <= other.y || other.y + other.height <= one.y);
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_process_calls_itself(command in any::<String>()) {
            let picture = svg("user", &[node(1, &command, Vec::new())]);
            let tags = picture.matches('<').count();
            prop_assert_eq!(tags, svg("user", &[node(1, "x", Vec::new())]).matches('<').count());
            let quotes = dot(&[node(1, &command, Vec::new())]).replace("\\\\", "").replace("\\\"", "").matches('"').count();
            prop_assert_eq!(quotes, dot(&[node(1, "x", Vec::new())]).matches('"').count());
        }
    }
}
