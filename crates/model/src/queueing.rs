//! Waiting times in closed form.
//!
//! `load` is the share of a server's time that is asked for, below 1; times come out in the unit of `service`.

/// Mean wait in an M/G/1 queue (Pollaczek and Khinchine). `variation`: of the service times, squared (variance over
/// squared mean).
pub fn wait_mg1(load: f64, service: f64, variation: f64) -> f64 {
    if load >= 1.0 {
        return f64::INFINITY;
    }
    load / (1.0 - load) * service * (1.0 + variation) / 2.0
}

/// Probability that a customer waits in an M/M/c queue (Erlang C). `load` is of each of the `servers`.
pub fn erlang_c(servers: usize, load: f64) -> f64 {
    if load >= 1.0 {
        return 1.0;
    }
    let offered = servers as f64 * load;
    // Erlang B by recursion, then C from it: no factorials
    let blocked = (1..=servers).fold(1.0, |blocked, n| offered * blocked / (n as f64 + offered * blocked));
    blocked / (1.0 - load * (1.0 - blocked))
}

/// Mean wait in an M/G/c queue, by the approximation of Lee and Longton: that of M/M/c, corrected for the variation.
pub fn wait_mgc(servers: usize, load: f64, service: f64, variation: f64) -> f64 {
    if load >= 1.0 {
        return f64::INFINITY;
    }
    erlang_c(servers, load) * service / (servers as f64 * (1.0 - load)) * (1.0 + variation) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs().max(1.0)
    }

    #[test]
    fn textbook_answers() {
        // M/M/1 with load 0.5 waits one service time, M/D/1 half of it
        assert!(close(wait_mg1(0.5, 3.0, 1.0), 3.0) && close(wait_mg1(0.5, 3.0, 0.0), 1.5));
        assert!(close(wait_mg1(0.8, 1.0, 1.0), 4.0));
        // Erlang C: one server waits with probability of its load; two servers with one Erlang: 1/3
        assert!(close(erlang_c(1, 0.3), 0.3) && close(erlang_c(2, 0.5), 1.0 / 3.0));
        // three servers, two Erlangs: 4/9
        assert!(close(erlang_c(3, 2.0 / 3.0), 4.0 / 9.0));
        assert!(close(wait_mgc(2, 0.5, 1.0, 1.0), 1.0 / 3.0));
    }

    #[test]
    fn one_server_of_many_is_the_single_queue() {
        for load in [0.0, 0.1, 0.5, 0.9, 0.99] {
            assert!(close(wait_mgc(1, load, 2.0, 0.7), wait_mg1(load, 2.0, 0.7)));
        }
    }

    #[test]
    fn waits_grow_with_load_and_fall_with_servers() {
        let mut last = 0.0;
        for percent in 1..100 {
            let wait = wait_mgc(4, f64::from(percent) / 100.0, 1.0, 1.0);
            assert!(wait > last);
            last = wait;
        }
        assert!((1..16).all(|c| wait_mgc(c + 1, 0.8, 1.0, 1.0) < wait_mgc(c, 0.8, 1.0, 1.0)));
        assert!(wait_mg1(1.0, 1.0, 1.0).is_infinite() && wait_mgc(2, 1.5, 1.0, 0.0).is_infinite());
    }
}
