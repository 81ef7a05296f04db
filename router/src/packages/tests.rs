//! Tests of folders of fetched packages.

use switchyard_contract::project::ProjectName;

use super::*;

fn packages(state: &Path) -> (Packages, Tenant, DependencyKey) {
    let checkout = state.join("checkout");
    fs::create_dir_all(&checkout).unwrap();
    let key = DependencyKey::of(&checkout, &checkout, "3f9a1c2b7d4e").unwrap();
    let blog = Tenant::first(&ProjectName::parse("blog").unwrap());
    (Packages::open(state, None).unwrap(), blog, key)
}

fn make(packages: &Packages, tenant: &Tenant, name: &str) -> PathBuf {
    let folder = packages.root.join(tenant.to_string()).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_newest_folder_of_the_same_dependencies_is_used() {
    let state = tempfile::tempdir().unwrap();
    let (packages, project, key) = packages(state.path());
    let mut used = None;
    assert!(!packages.reuse(&project, &key, &Specifiers::default(), |_| Ok(())).unwrap());
    make(&packages, &project, "other.11");
    make(&packages, &project, &format!("{key}.9"));
    let newest = make(&packages, &project, &format!("{key}.10"));
    let attach = |folder: &Path| {
        used = Some(folder.to_owned());
        Ok(())
    };
    assert!(packages.reuse(&project, &key, &Specifiers::default(), attach).unwrap());
    assert_eq!(used, Some(newest));
}

#[test]
fn unused_folders_are_removed_and_the_last_with_the_folder_of_its_project() {
    let state = tempfile::tempdir().unwrap();
    let (packages, project, _) = packages(state.path());
    let (one, other) = (make(&packages, &project, "a.0"), make(&packages, &project, "a.1"));
    packages.prune(&project, || vec![other.clone()]);
    assert!(!one.exists() && other.exists());
    packages.prune(&project, Vec::new);
    assert!(!other.parent().unwrap().exists());
}

#[test]
fn the_tenants_are_those_that_packages_were_fetched_for() {
    let state = tempfile::tempdir().unwrap();
    let (packages, tenant, _) = packages(state.path());
    assert_eq!(packages.tenants(), BTreeSet::new(), "downloads belong to no tenant");
    make(&packages, &tenant, "a.0");
    assert_eq!(packages.tenants(), [tenant].into());
}

#[test]
fn unfinished_folders_of_a_killed_router_are_removed() {
    let state = tempfile::tempdir().unwrap();
    let (first, project, _) = packages(state.path());
    let half = make(&first, &project, ".new-3");
    let whole = make(&first, &project, "a.0");
    packages(state.path());
    assert!(!half.exists() && whole.exists());
}
