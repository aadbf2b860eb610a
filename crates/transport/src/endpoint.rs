//! UDP sockets and QUIC parameters that both ports share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt};

use crate::error::TransportError;
use crate::refusal::TransportRefusal;

/// Asked of the system for either direction of a socket; it may give less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Largest datagram that is tried on a path. Ten of them are handed to the system at once, which takes
/// no more than 64 KiB.
const DATAGRAM_BYTES_MAX: u16 = 6_400;
/// The TLS alerts that name a refusal (RFC 8446 §6), as QUIC carries them.
const ALERT_ACCESS_DENIED: u64 = 0x100 + 49;
const ALERT_NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// A socket with large buffers and an endpoint on it; `server` when it takes connections.
pub(crate) fn open(addr: SocketAddr, server: Option<quinn::ServerConfig>) -> Result<Endpoint, TransportError> {
    let bind = || -> io::Result<Endpoint> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        // what the system does not give only costs throughput
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        socket.bind(&addr.into())?;
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("within what QUIC allows");
        Endpoint::new(config, server, socket.into(), Arc::new(TokioRuntime))
    };
    bind().map_err(|source| TransportError::Bind { addr, source })
}

/// What one port asks of its connections.
pub(crate) struct Flow {
    pub(crate) idle_timeout: Duration,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) uni_streams: u32,
    pub(crate) bidi_streams: u32,
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) send_window: u64,
}

/// Parameters for short fat paths: a large first congestion window, since the other end is a known node in
/// a data centre or on this machine, and datagrams as large as the path takes.
pub(crate) fn transport(flow: &Flow) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut cubic = quinn::congestion::CubicConfig::default();
    cubic.initial_window(1 << 20);
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(DATAGRAM_BYTES_MAX);
    config
        .congestion_controller_factory(Arc::new(cubic))
        .mtu_discovery_config(Some(mtu))
        .initial_rtt(Duration::from_millis(50))
        .max_idle_timeout(Some(IdleTimeout::try_from(flow.idle_timeout).expect("idle timeouts fit a varint")))
        .keep_alive_interval(flow.keep_alive)
        .max_concurrent_uni_streams(VarInt::from_u32(flow.uni_streams))
        .max_concurrent_bidi_streams(VarInt::from_u32(flow.bidi_streams))
        .stream_receive_window(VarInt::from_u32(flow.stream_window))
        .receive_window(VarInt::from_u32(flow.connection_window))
        .send_window(flow.send_window)
        .send_fairness(false)
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}

/// What a failed handshake is counted as, on the side that was dialled.
pub(crate) fn handshake_refusal(error: &quinn::ConnectionError) -> TransportRefusal {
    let code = match error {
        quinn::ConnectionError::TransportError(error) => u64::from(error.code),
        quinn::ConnectionError::TimedOut => return TransportRefusal::HandshakeTimeout,
        _ => return TransportRefusal::Handshake,
    };
    match code {
        ALERT_ACCESS_DENIED => TransportRefusal::UnknownKey,
        ALERT_NO_APPLICATION_PROTOCOL => TransportRefusal::WrongProtocol,
        _ => TransportRefusal::Handshake,
    }
}
