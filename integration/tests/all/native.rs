//! System calls as native code would make them that has taken over a cell: what the kernel refuses it.

use switchyard_integration::fixtures::hello;
use switchyard_integration::native;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_cell_in_which_native_code_makes_calls_serves_on() {
    if !native::is_possible() {
        return;
    }
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let pid = router.admin.project("a").await.pid.expect("it is live");
    for _ in 0..20 {
        assert_eq!(native::call(pid, libc::SYS_getpid, [0; 6]), i64::from(pid));
        assert_eq!(router.public.get("/a/").await.text(), "one");
    }
    let address = native::put(pid, b"bytes");
    assert_eq!(native::get(pid, address, 5), b"bytes");
    assert_eq!(native::call(pid, libc::SYS_getppid, [0; 6]), i64::from(router.pid().as_raw_nonzero().get()));
}
