// SPDX-License-Identifier: Apache-2.0
//! What Rust source may not say: words of other floors, `unsafe` outside its home, panics, ignored tests, vague promises.

use super::{Fault, files, floors};
use crate::cargo::Workspace;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::path::Path;
use std::str::FromStr;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 1000;
const FUNCTION_LINES: usize = 100;

/// Programs that plain rustc compiles by itself: no libc, no workspace crate and so no `kernel` that could hold their
/// `unsafe`. The bench starts them as contestants; they are in nothing that we release.
const COMPILED_ALONE: &str = "xtask/floor";

/// What `kernel` may not know of (ARCHITECTURE.md, floor 0).
const FOREIGN_TO_KERNEL: [&str; 5] = ["container", "containers", "image", "images", "oci"];

/// What of `kernel` is data and pure functions, for `plan` (docs/adr/0001).
const PURE_KERNEL: [&str; 3] = ["types", "cgroup", "landlock"];

/// Crates whose own business is the user's environment.
const READS_ENVIRONMENT: [&str; 4] = ["cella", "cella-oci", "server", "xtask"];

/// To whom a source file belongs, and which rules follow from that.
pub(crate) struct Owner {
    pub(crate) name: String,
    /// The whole file is a test, a bench, an example or a build script.
    test: bool,
    alone: bool,
    /// A program's first file, where the environment may be read.
    program: bool,
}

impl Owner {
    pub(crate) fn of(path: &Path, workspace: &Workspace) -> Self {
        let full = workspace.workspace_root.join(path);
        let package = workspace.packages.iter().find(|p| full.starts_with(p.directory()));
        let inside = package.and_then(|p| full.strip_prefix(p.directory()).ok()).unwrap_or(path);
        let first = inside.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
        Self {
            name: package.map_or("none", |p| &p.name).to_owned(),
            test: ["tests", "benches", "examples", "build.rs"].iter().any(|d| first.as_deref() == Some(*d))
                || inside.file_stem().is_some_and(|stem| stem == "tests"),
            alone: path.starts_with(COMPILED_ALONE),
            program: inside == Path::new("src/main.rs") || inside.starts_with("src/bin"),
        }
    }
}

/// Adds every fault of a file, and returns the lengths of its functions.
pub(crate) fn check(path: &Path, text: &str, owner: &Owner, faults: &mut Vec<Fault>) -> Vec<usize> {
    files::spdx(path, text, "//", faults);
    let header = files::header(text);
    if !header.contains(['.', ';', '!']) || header.len() < 20 {
        faults.push(Fault::new(path, 2, "no `//!` sentence says what lives in this file"));
    }
    promises(path, text, faults);
    let table = header.contains("data table");
    let lines = text.lines().count();
    if lines > FILE_LINES && !table {
        faults.push(Fault::new(path, 1, format!("{lines} lines; {FILE_LINES} is the most")));
    }
    match TokenStream::from_str(text) {
        Ok(tokens) => Words { path, owner, faults }.walk(tokens, owner.test),
        Err(error) => faults.push(Fault::new(path, error.span().start().line, format!("no Rust: {error}"))),
    }
    let mut functions = Functions(Vec::new());
    match syn::parse_file(text) {
        Ok(file) => functions.visit_file(&file),
        Err(error) => faults.push(Fault::new(path, error.span().start().line, format!("no Rust: {error}"))),
    }
    for (line, name, length) in functions.0.iter().filter(|(_, _, n)| *n > FUNCTION_LINES && !table) {
        faults.push(Fault::new(path, *line, format!("{name} has {length} lines; {FUNCTION_LINES} is the most")));
    }
    functions.0.into_iter().map(|(_, _, length)| length).collect()
}

/// A promise in a comment names the condition under which it falls due: "when MSRV ≥ 1.98".
fn promises(path: &Path, text: &str, faults: &mut Vec<Fault>) {
    for (number, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else {
            continue;
        };
        for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            let said = comment.split(|c: char| !c.is_alphanumeric()).any(|w| w == word);
            if said && !comment.contains("when ") {
                faults.push(Fault::new(path, number + 1, format!("{word} without a condition (\"when …\")")));
            }
        }
    }
}

/// First line, name and length of every function with a body.
struct Functions(Vec<(usize, String, usize)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.0.push((first, signature.ident.to_string(), last + 1 - first));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// Walks the tokens of a file: comments are gone, and texts are tokens of their own.
struct Words<'a> {
    path: &'a Path,
    owner: &'a Owner,
    faults: &'a mut Vec<Fault>,
}

impl Words<'_> {
    fn walk(&mut self, tokens: TokenStream, test: bool) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut test_item = false;
        for (at, tree) in trees.iter().enumerate() {
            let before = &trees[..at];
            match tree {
                TokenTree::Group(group) if is_attribute(before, group) => {
                    test_item |= is_test(&group.stream());
                    self.attribute(group);
                }
                TokenTree::Group(group) => {
                    self.call(before, group, test || test_item);
                    self.walk(group.stream(), test || test_item);
                    test_item &= group.delimiter() != Delimiter::Brace;
                }
                TokenTree::Ident(ident) => self.word(&ident.to_string(), tree, before, test || test_item),
                TokenTree::Literal(text) => self.foreign(&text.to_string(), tree),
                TokenTree::Punct(mark) => test_item &= mark.as_char() != ';',
            }
        }
    }

    fn fault(&mut self, tree: &TokenTree, what: impl Into<String>) {
        self.faults.push(Fault::new(self.path, tree.span().start().line, what));
    }

    fn attribute(&mut self, group: &proc_macro2::Group) {
        let tree = TokenTree::from(group.clone());
        match first_word(&group.stream()).as_deref() {
            Some("ignore") => {
                self.fault(&tree, "an ignored test: skip it when it runs, with its reason in CELLA_SKIP_LOG")
            }
            Some("unsafe") if !self.may_be_unsafe() => self.fault(&tree, "unsafe outside crates/kernel"),
            _ => {}
        }
    }

    fn may_be_unsafe(&self) -> bool {
        self.owner.alone || floors::MAY_BE_UNSAFE.contains(&self.owner.name.as_str())
    }

    fn word(&mut self, word: &str, tree: &TokenTree, before: &[TokenTree], test: bool) {
        if word == "unsafe" && !self.may_be_unsafe() {
            self.fault(tree, "unsafe outside crates/kernel");
        }
        self.foreign(word, tree);
        let name = self.owner.name.as_str();
        let parent = parent_module(before);
        if name == "plan" && !test && parent.as_deref() == Some("kernel") && !PURE_KERNEL.contains(&word) {
            self.fault(tree, format!("plan may use what of kernel does no I/O, not kernel::{word}"));
        }
        let environment =
            parent.as_deref() == Some("env") && ["var", "var_os", "vars", "vars_os", "home_dir"].contains(&word);
        if environment && !test && !self.owner.program && !READS_ENVIRONMENT.contains(&name) {
            self.fault(tree, format!("a library never reads the environment: env::{word}"));
        }
    }

    /// In `kernel`, no word of a higher floor, in names and in texts.
    fn foreign(&mut self, text: &str, tree: &TokenTree) {
        if self.owner.name != "kernel" || self.owner.test {
            return;
        }
        if let Some(word) = words(text).find(|word| FOREIGN_TO_KERNEL.contains(&word.as_str())) {
            self.fault(tree, format!("kernel does not know the word {word:?}"));
        }
    }

    /// `.unwrap()` and `.expect("…")`; a parser's own `self.expect(…)` is another thing.
    fn call(&mut self, before: &[TokenTree], group: &proc_macro2::Group, test: bool) {
        let [.., receiver, TokenTree::Punct(dot), TokenTree::Ident(name)] = before else {
            return;
        };
        if test || dot.as_char() != '.' || group.delimiter() != Delimiter::Parenthesis {
            return;
        }
        let own = matches!(receiver, TokenTree::Ident(ident) if *ident == "self");
        if (*name == "unwrap" && group.stream().is_empty()) || (*name == "expect" && !own) {
            self.fault(&TokenTree::from(name.clone()), format!(".{name}() outside tests: input must never panic"));
        }
    }
}

/// `#[…]` or `#![…]`.
fn is_attribute(before: &[TokenTree], group: &proc_macro2::Group) -> bool {
    let marks = before.iter().rev().map_while(|tree| match tree {
        TokenTree::Punct(mark) => Some(mark.as_char()),
        TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => None,
    });
    let marks: String = marks.take(2).collect();
    group.delimiter() == Delimiter::Bracket && (marks.starts_with('#') || marks == "!#")
}

/// `test`, `cfg(test)`, `cfg(all(test, …))`; not `cfg(not(test))`.
fn is_test(attribute: &TokenStream) -> bool {
    match first_word(attribute).as_deref() {
        Some("test") => true,
        Some("cfg") => {
            let text = attribute.to_string();
            words(&text).any(|word| word == "test") && !words(&text).any(|word| word == "not")
        }
        _ => false,
    }
}

fn first_word(tokens: &TokenStream) -> Option<String> {
    match tokens.clone().into_iter().next() {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// `a` of `a::`, when that is what stands before.
fn parent_module(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(module), TokenTree::Punct(one), TokenTree::Punct(two)]
            if one.as_char() == ':' && two.as_char() == ':' =>
        {
            Some(module.to_string())
        }
        _ => None,
    }
}

/// The words of a name or a text, in small letters: `OciImage`, `oci_image` and "oci image" are the same two.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut last_small = false;
    for c in text.chars() {
        if c.is_uppercase() && last_small {
            spaced.push(' ');
        }
        last_small = c.is_lowercase();
        spaced.push(if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    }
    spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "// SPDX-License-Identifier: Apache-2.0\n//! A file that is here to be looked at.\n";

    fn faults(name: &str, code: &str) -> Vec<String> {
        let owner = Owner { name: name.into(), test: false, alone: false, program: false };
        let mut faults = Vec::new();
        check(Path::new("x.rs"), &format!("{TOP}{code}"), &owner, &mut faults);
        faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.what)).collect()
    }

    #[test]
    fn panics_are_for_tests() {
        let code = "fn a() { b.unwrap(); b.expect(\"c\"); self.expect('x'); b.unwrap_or(1); }";
        assert_eq!(faults("spec", code).len(), 2);
        assert!(faults("spec", "#[cfg(test)]\nmod tests { fn a() { b.unwrap() } }").is_empty());
        assert_eq!(faults("spec", "#[cfg(test)]\nmod t { fn a() {} }\nfn b() { c.unwrap() }").len(), 1);
        assert_eq!(faults("spec", "#[cfg(test)]\nuse a;\nfn b() { c.unwrap() }").len(), 1);
        assert_eq!(faults("spec", "#[cfg(not(test))]\nfn b() { c.unwrap() }").len(), 1);
    }

    #[test]
    fn unsafe_lives_in_kernel() {
        assert_eq!(faults("spec", "fn a() { unsafe { b() } }"), ["3: unsafe outside crates/kernel"]);
        assert_eq!(faults("spec", "#[unsafe(no_mangle)]\nfn a() {}").len(), 1);
        assert!(faults("kernel", "fn a() { unsafe { b() } }").is_empty());
        assert!(faults("spec", "// unsafe\nfn a() { b(\"unsafe\") }").is_empty());
    }

    #[test]
    fn kernel_knows_no_higher_words() {
        assert_eq!(faults("kernel", "struct OciState;"), ["3: kernel does not know the word \"oci\""]);
        assert_eq!(faults("kernel", "fn a() { b(\"the container's\") }").len(), 1);
        assert!(faults("kernel", "/// Not for containers only.\nfn associate() { sociable() }").is_empty());
        assert!(faults("runtime", "struct Container;").is_empty());
    }

    #[test]
    fn plan_and_libraries_keep_to_their_floor() {
        assert!(faults("plan", "use kernel::types::Pid;").is_empty());
        assert_eq!(faults("plan", "use kernel::mount::mount;").len(), 1);
        assert_eq!(faults("image", "fn a() { std::env::var(\"HOME\"); }").len(), 1);
        assert!(faults("cella", "fn a() { std::env::var(\"HOME\"); }").is_empty());
    }

    #[test]
    fn sizes_promises_and_headers() {
        let long = format!("fn a() {{{}}}", "\n".repeat(100));
        assert_eq!(faults("spec", &long), ["3: a has 101 lines; 100 is the most"]);
        assert_eq!(faults("spec", &"\n".repeat(1000)).len(), 1);
        assert_eq!(faults("spec", concat!("// TO", "DO: more")).len(), 1);
        assert!(faults("spec", concat!("// TO", "DO when MSRV >= 1.98: more")).is_empty());
        assert_eq!(faults("spec", "#[ignore = \"slow\"]\nfn a() {}").len(), 1);
        let mut found = Vec::new();
        let owner = Owner { name: "spec".into(), test: false, alone: false, program: false };
        check(Path::new("x.rs"), "fn a() {}\n", &owner, &mut found);
        assert_eq!(found.len(), 2);
    }
}
