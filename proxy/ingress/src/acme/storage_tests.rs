//! The storage file: Traefik's form there and back, and what is refused.

use super::*;

/// As Traefik 3 writes it, with two fields that nobody knows.
const FILE: &str = r#"{
  "le": {
    "Account": {
      "Email": "a@example.com",
      "Registration": {
        "body": {"status": "valid", "contact": ["mailto:a@example.com"]},
        "uri": "https://ca.example/acct/1"
      },
      "PrivateKey": "AQID",
      "KeyType": "4096",
      "New": 1
    },
    "Certificates": [
      {
        "domain": {"main": "a.example", "sans": ["b.example"]},
        "certificate": "AQ==",
        "key": "Ag==",
        "Store": "default"
      }
    ],
    "Later": {"x": [1]}
  },
  "other": {"Account": null, "Certificates": null},
  "empty": null
}"#;

fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acme.json");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    (dir, path)
}

#[test]
fn reads_the_form_of_traefik_and_keeps_unknown_fields() {
    let (_dir, path) = file(FILE, 0o600);
    let contents = read(&path).unwrap();
    let le = &contents["le"];
    let account = le.account.as_ref().unwrap();
    assert_eq!(account.private_key.0, [1, 2, 3]);
    assert_eq!(account.registration.as_ref().unwrap().uri, "https://ca.example/acct/1");
    assert_eq!(le.certificates[0].domain.names(), ["a.example", "b.example"]);
    write(&path, &contents).unwrap();
    let before: Value = serde_json::from_str(FILE).unwrap();
    let after: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(before["le"], after["le"]);
    assert_eq!(read(&path).unwrap(), contents);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_missing_or_empty_has_nothing() {
    let (dir, path) = file("", 0o600);
    assert!(read(&path).unwrap().is_empty());
    assert!(read(&dir.path().join("none.json")).unwrap().is_empty());
}

#[test]
fn refuses_a_file_that_others_can_read() {
    let (_dir, path) = file(FILE, 0o640);
    assert_eq!(
        read(&path).unwrap_err().to_string(),
        format!("{}: permissions 640 are too open, expected 600", path.display())
    );
}

#[test]
fn says_where_a_corrupt_file_is_wrong() {
    let (_dir, path) = file(r#"{"le": {"Certificates": [{"domain": {"main": "a"}, "key": "?"}]}}"#, 0o600);
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("base64") && error.contains("line 1"), "{error}");
    let (_dir, path) = file(&FILE[..100], 0o600);
    assert!(read(&path).unwrap_err().to_string().contains("expected the form of Traefik's acme.json"));
}
