//! Floor 4: QUIC endpoints, identities, framing, limits, link shaping.
