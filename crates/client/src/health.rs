//! Whether a server answers on its own machine: for the health checks of containers, in which there is no other program.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Who does not answer within this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks for `path` by HTTP, which must be answered with 200.
pub fn ask(listen: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = connect(listen)?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {listen}\r\n\r\n").as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if answer.ends_with(b" 200") {
        return Ok(());
    }
    Err(io::Error::other(format!("it answers {}", String::from_utf8_lossy(&answer))))
}

/// Connects only: for a server that speaks TLS.
pub fn connect(listen: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&listen, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static [u8]) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            assert!(asked.starts_with(b"GET /health HTTP/1.0\r\n"));
            stream.write_all(answer).unwrap();
        });
        let outcome = ask(listen, "/health");
        server.join().unwrap();
        outcome
    }

    #[test]
    fn only_a_200_is_healthy() {
        answered(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        assert!(answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err().to_string().contains("503"));
        assert!(answered(b"HTTP").is_err());
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(nobody, "/health").is_err());
    }
}
