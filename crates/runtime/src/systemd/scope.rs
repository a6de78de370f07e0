// SPDX-License-Identifier: Apache-2.0
//! What a unit is called, where it belongs, and where systemd's objects are.

use super::Property;

/// What a unit is asked to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The slice that it belongs to.
    pub slice: String,
    /// Its name: a scope's, or a slice's.
    pub unit: String,
    /// What it is, for a person.
    pub description: String,
    /// Limits and whatever else.
    pub properties: Vec<Property>,
}

/// The longest name of a unit.
const LONGEST: usize = 255;

impl Scope {
    /// By a `cgroupsPath` in systemd's form, `slice:prefix:name`; without any, a scope named after the container.
    ///
    /// # Errors
    /// What is wrong with the path or the id, for a person.
    pub fn parse(cgroups_path: &str, id: &str, rootless: bool) -> Result<Self, String> {
        let (slice, prefix, name) = if cgroups_path.is_empty() {
            ("", "cella", id)
        } else {
            let parts: Vec<&str> = cgroups_path.split(':').collect();
            let &[slice, prefix, name] = parts.as_slice() else {
                return Err(format!("cgroupsPath {cgroups_path:?} is not of the form slice:prefix:name"));
            };
            (slice, prefix, name)
        };
        let slice = match slice {
            "" if rootless => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        slice_path(slice)?;
        if name.is_empty() {
            return Err(format!("cgroupsPath {cgroups_path:?} has no name"));
        }
        let unit = match prefix {
            _ if name.ends_with(".slice") => name.to_owned(),
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        check_unit(&unit)?;
        Ok(Self { slice: slice.to_owned(), unit, description: format!("cella container {id}"), properties: Vec::new() })
    }

    /// Whether it is a slice: those have no processes of their own.
    pub(super) fn is_slice(&self) -> bool {
        self.unit.ends_with(".slice")
    }
}

/// A slice's directory, from the root of the control groups: `a-b.slice` is `/a.slice/a-b.slice`.
///
/// # Errors
/// Why there is no such slice, for a person.
pub fn slice_path(slice: &str) -> Result<String, String> {
    check_name(slice)?;
    let wrong = || format!("{slice:?} is not the name of a slice");
    let name = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    if name == "-" {
        return Ok("/".to_owned());
    }
    let mut path = String::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(wrong());
        }
        prefix.push_str(part);
        path.push('/');
        path.push_str(&prefix);
        path.push_str(".slice");
        prefix.push('-');
    }
    Ok(path)
}

/// A scope's or a slice's name.
pub(super) fn check_unit(unit: &str) -> Result<(), String> {
    check_name(unit)?;
    if unit.ends_with(".slice") {
        return slice_path(unit).map(drop);
    }
    match unit.strip_suffix(".scope") {
        Some(name) if !name.is_empty() => Ok(()),
        _ => Err(format!("{unit:?} is neither a scope nor a slice")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let may = |c: char| c.is_ascii_alphanumeric() || ":_.-@\\".contains(c);
    if name.is_empty() || name.len() > LONGEST {
        return Err(format!("{name:?}: a unit's name has 1 to {LONGEST} bytes"));
    }
    if !name.chars().all(may) || name.contains("..") {
        return Err(format!("{name:?}: a unit's name has letters, digits and : _ . - @ \\ only, and no two dots"));
    }
    Ok(())
}

/// A unit's object. All but letters and digits are escaped, and so is a digit at the beginning.
pub(super) fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(path: &str, rootless: bool) -> (String, String) {
        let scope = Scope::parse(path, "ID", rootless).unwrap();
        (scope.slice, scope.unit)
    }

    #[test]
    fn paths_of_the_specification() {
        let pair = |slice: &str, unit: &str| (slice.to_owned(), unit.to_owned());
        assert_eq!(parsed("", false), pair("system.slice", "cella-ID.scope"));
        assert_eq!(parsed("", true), pair("user.slice", "cella-ID.scope"));
        assert_eq!(parsed("a-b.slice:docker:ID", false), pair("a-b.slice", "docker-ID.scope"));
        assert_eq!(parsed("a-b.slice::ID", false), pair("a-b.slice", "ID.scope"));
        assert_eq!(parsed(":libpod:ID", true), pair("user.slice", "libpod-ID.scope"));
        assert_eq!(parsed("a.slice:x:a-b.slice", false), pair("a.slice", "a-b.slice"));
        assert_eq!(parsed("-.slice::x@1\\x2d", false), pair("-.slice", "x@1\\x2d.scope"));
    }

    #[test]
    fn paths_that_are_none() {
        let long = format!("::{}", "x".repeat(250));
        let wrong =
            ["/a/b", "a.slice", "a.slice:b", "a.slice:b:c:d", "a.slice:b:", "a:b:c", "a/b.slice:b:c", "a--b.slice:b:c"];
        let also =
            ["a.slice:b:../c", "a.slice:b:c..d", "a.slice:b/:c", "a.slice:b:c d", ".slice:b:c", "::.slice", &long];
        for path in wrong.into_iter().chain(also) {
            assert!(Scope::parse(path, "ID", false).is_err(), "{path}");
        }
        assert!(Scope::parse("", "", false).is_err() && Scope::parse("", "a/b", false).is_err());
    }

    #[test]
    fn slices_are_within_each_other() {
        assert_eq!(slice_path("a-b.slice").unwrap(), "/a.slice/a-b.slice");
        assert_eq!(slice_path("system.slice").unwrap(), "/system.slice");
        assert_eq!(slice_path("-.slice").unwrap(), "/");
        for wrong in ["", "a", "a.scope", ".slice", "a-.slice", "-a.slice", "--.slice", "../a.slice", "a/b.slice"] {
            assert!(slice_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_in_object_paths() {
        assert_eq!(object_path("1a-2.scope"), "/org/freedesktop/systemd1/unit/_31a_2d2_2escope");
        assert!(object_path("a_\\.slice").ends_with("/a_5f_5c_2eslice"));
    }

    proptest! {
        #[test]
        fn no_path_leads_out(path in "[a-c./:@-]{0,12}(.slice)?(:[a-c./-]{0,4}){0,2}", id in "[a./]{0,4}") {
            if let Ok(scope) = Scope::parse(&path, &id, false) {
                prop_assert!(!scope.unit.contains('/') && !scope.unit.contains("..") && !scope.slice.contains('/'));
                prop_assert!(slice_path(&scope.slice).is_ok_and(|path| path.starts_with('/') && !path.contains("..")));
            }
        }
    }
}
