//! Senders that a datagram socket receives from: only addresses that it has sent to. A filter on
//! the socket makes the kernel drop other datagrams before they are queued, so that strangers
//! neither reach a project nor wake it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{c_int, c_void, sock_filter, sock_fprog, socklen_t};

/// The most senders that one socket receives from. One more replaces the sender that was sent to
/// the longest time ago.
///
/// Two such filters, the present one and its successor, fit into the 20 KB that kernels before 6.7
/// have for a socket's options (`net.core.optmem_max`): an IPv6 sender takes at most 16
/// instructions of 8 bytes.
const MAX_SENDERS: usize = 64;

/// The kernel's number of a packet's protocol.
const IPV4: u32 = libc::ETH_P_IP as u32;

/// Offsets of the sender's address in the network header, and of the port in the UDP header, with
/// which a packet begins here.
const V4_SOURCE: u32 = 12;
const V6_SOURCE: u32 = 8;
const SOURCE_PORT: u32 = 0;

/// The filter's memory: the words of the address, then the port.
const PORT: u32 = 4;

const DROP: u32 = 0;
const KEEP: u32 = u32::MAX;

/// The senders of each descriptor, the last one that was sent to at the end. An entry is replaced
/// when its descriptor becomes another socket's.
static SENDERS: Mutex<BTreeMap<c_int, VecDeque<SocketAddr>>> = Mutex::new(BTreeMap::new());

/// Closes a new datagram socket to all senders.
///
/// # Errors
/// The kernel's: the socket is open to all senders and must not be used.
pub(super) fn close(socket: c_int) -> io::Result<()> {
    let mut sockets = lock();
    sockets.remove(&socket);
    attach(socket, &program(&[]))?;
    sockets.insert(socket, VecDeque::new());
    Ok(())
}

/// Forgets the senders of a descriptor that is now a stream's.
pub(super) fn forget(socket: c_int) {
    lock().remove(&socket);
}

/// Opens a datagram socket to `receiver`, which it is about to send to. Does nothing for streams.
///
/// # Errors
/// The kernel's: the socket's senders have not changed.
pub(super) fn open(socket: c_int, receiver: SocketAddr) -> io::Result<()> {
    let mut sockets = lock();
    let Some(senders) = sockets.get_mut(&socket) else { return Ok(()) };
    let receiver = SocketAddr::new(receiver.ip().to_canonical(), receiver.port());
    if senders.back() == Some(&receiver) {
        return Ok(());
    }
    match senders.iter().position(|sender| *sender == receiver) {
        Some(at) => _ = senders.remove(at),
        None => {
            let surplus = (senders.len() + 1).saturating_sub(MAX_SENDERS);
            let next: Vec<_> = senders.iter().skip(surplus).copied().chain([receiver]).collect();
            attach(socket, &program(&next))?;
            senders.drain(..surplus);
        }
    }
    senders.push_back(receiver);
    Ok(())
}

fn lock() -> MutexGuard<'static, BTreeMap<c_int, VecDeque<SocketAddr>>> {
    SENDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attach(socket: c_int, program: &[sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let size = size_of_val(&program) as socklen_t;
    let option = (&raw const program).cast::<c_void>();
    // SAFETY: the kernel copies the program, which is as long as it says.
    #[expect(unsafe_code, reason = "libc call")]
    let attached =
        unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, option, size) };
    if attached == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the filter that keeps datagrams of these senders and drops all others.
fn program(senders: &[SocketAddr]) -> Vec<sock_filter> {
    let (v4, v6): (Vec<_>, Vec<_>) = senders.iter().partition(|sender| sender.is_ipv4());
    if senders.is_empty() {
        return vec![answer(DROP)];
    }
    let v4 = section(V4_SOURCE, 1, &v4);
    let v6 = section(V6_SOURCE, 4, &v6);
    let mut program = vec![
        load(libc::BPF_H, SOURCE_PORT),
        store(PORT),
        load(libc::BPF_W, (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32),
        // A conditional jump reaches 255 instructions; this one skips all of IPv4.
        jump_unless(IPV4, 1),
        jump(1),
        jump(v4.len() as u32),
    ];
    program.extend(v4);
    program.extend(v6);
    program
}

/// Returns the part of the filter for the senders of one protocol, whose addresses have this many
/// words.
fn section(source: u32, words: u32, senders: &[&SocketAddr]) -> Vec<sock_filter> {
    let mut section = Vec::new();
    for word in 0..words {
        let at = (libc::SKF_NET_OFF as u32).wrapping_add(source + 4 * word);
        section.extend([load(libc::BPF_W, at), store(word)]);
    }
    senders.iter().for_each(|sender| section.extend(sender_filter(sender)));
    section.push(answer(DROP));
    section
}

/// Returns the instructions that keep datagrams of `sender`, and otherwise continue behind them.
/// The last word of an address is compared first, as it differs most.
fn sender_filter(sender: &SocketAddr) -> Vec<sock_filter> {
    let words = words(sender.ip());
    let fields = words.into_iter().enumerate().rev().map(|(at, word)| (at as u32, word));
    let fields: Vec<_> = fields.chain([(PORT, sender.port().into())]).collect();
    let mut program = Vec::new();
    for (done, (at, value)) in fields.iter().enumerate() {
        // Skips the remaining fields, two instructions each, and the answer.
        let rest = 2 * (fields.len() - done - 1) + 1;
        program.extend([recall(*at), jump_unless(*value, rest as u8)]);
    }
    program.push(answer(KEEP));
    program
}

fn words(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(v4) => vec![v4.to_bits()],
        IpAddr::V6(v6) => {
            v6.segments().chunks(2).map(|two| u32::from(two[0]) << 16 | u32::from(two[1])).collect()
        }
    }
}

fn load(size: u32, at: u32) -> sock_filter {
    instruction(libc::BPF_LD | size | libc::BPF_ABS, at, 0)
}

fn recall(at: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_MEM, at, 0)
}

fn store(at: u32) -> sock_filter {
    instruction(libc::BPF_ST, at, 0)
}

fn jump(over: u32) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, over, 0)
}

fn jump_unless(value: u32, over: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, over)
}

fn answer(bytes: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, bytes, 0)
}

fn instruction(code: u32, k: u32, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf, k }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use switchyard_protocol::Permissions;

    use super::super::network::{self, EgressRules};
    use super::*;

    /// Returns a closed socket that may reach loopback.
    fn bound(address: &str) -> UdpSocket {
        let private_net = ["127.0.0.1", "::1"].map(|reach| reach.parse().unwrap()).to_vec();
        network::open(EgressRules::new(&Permissions { private_net, ..Permissions::default() }));
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    /// Returns `true` if the machine has this address: many have no IPv6.
    fn is_there(address: &str) -> bool {
        UdpSocket::bind(address).is_ok()
    }

    /// Returns the indices of the senders that `socket` receives from, the last one included.
    fn heard_by(socket: &UdpSocket, senders: &[&UdpSocket]) -> Vec<usize> {
        for (index, sender) in senders.iter().enumerate() {
            sender.send_to(&[index as u8], socket.local_addr().unwrap()).unwrap();
        }
        let mut heard = Vec::new();
        while heard.last() != Some(&(senders.len() - 1)) {
            let mut byte = [0];
            socket.recv(&mut byte).unwrap();
            heard.push(usize::from(byte[0]));
        }
        heard
    }

    #[test]
    fn datagrams_of_strangers_are_dropped_for_both_protocols() {
        for address in ["127.0.0.1:0", "[::1]:0"].into_iter().filter(|address| is_there(address)) {
            let (socket, stranger, friend, other) =
                (bound(address), bound(address), bound(address), bound(address));
            open(socket.as_raw_fd(), other.local_addr().unwrap()).unwrap();
            open(socket.as_raw_fd(), friend.local_addr().unwrap()).unwrap();
            assert_eq!(heard_by(&socket, &[&stranger, &other, &stranger, &friend]), [1, 3], "{address}");
        }
    }

    #[test]
    fn a_sender_of_the_other_protocol_reaches_a_socket_of_both() {
        if !is_there("[::]:0") {
            return;
        }
        let (socket, stranger, friend) = (bound("[::]:0"), bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        let IpAddr::V4(v4) = friend.local_addr().unwrap().ip() else { unreachable!() };
        let mapped = SocketAddr::new(v4.to_ipv6_mapped().into(), friend.local_addr().unwrap().port());
        open(socket.as_raw_fd(), mapped).unwrap();
        let at = SocketAddr::new(v4.into(), socket.local_addr().unwrap().port());
        stranger.send_to(b"stranger", at).unwrap();
        friend.send_to(b"friend", at).unwrap();
        let mut text = [0; 16];
        let size = socket.recv(&mut text).unwrap();
        assert_eq!(&text[..size], b"friend");
    }

    #[test]
    fn of_too_many_the_one_is_dropped_that_was_sent_to_the_longest_time_ago() {
        let socket = bound("127.0.0.1:0");
        let fd = socket.as_raw_fd();
        let (kept, dropped, last) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        let send_to = |other: &UdpSocket| open(fd, other.local_addr().unwrap()).unwrap();
        send_to(&kept);
        send_to(&dropped);
        send_to(&kept);
        for index in 0..MAX_SENDERS - 2 {
            open(fd, SocketAddr::from(([192, 0, 2, 1], index as u16 + 1))).unwrap();
        }
        assert_eq!(lock().get(&fd).unwrap().len(), MAX_SENDERS);
        send_to(&last);
        assert_eq!(lock().get(&fd).unwrap().len(), MAX_SENDERS);
        assert_eq!(heard_by(&socket, &[&dropped, &kept, &last]), [1, 2]);
        send_to(&dropped);
        assert_eq!(heard_by(&socket, &[&kept, &dropped]), [1]);
    }

    #[test]
    fn as_many_ipv6_senders_as_there_may_be_fit_into_a_filter() {
        let socket = bound("127.0.0.1:0");
        let far = |index: usize| SocketAddr::new("2001:db8::1".parse().unwrap(), index as u16 + 1);
        let senders: Vec<_> = (0..MAX_SENDERS).map(far).collect();
        let program = program(&senders);
        // Two filters fit into the space of kernels before 6.7, which make at most two instructions of
        // each.
        assert!(program.len() * 2 * 8 <= 20_480 * 3 / 4, "{}", program.len());
        attach(socket.as_raw_fd(), &program).unwrap();
        attach(socket.as_raw_fd(), &program).unwrap();
    }
}
