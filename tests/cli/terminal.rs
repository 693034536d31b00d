//! The keys of a run in a terminal of its own: a pseudo-terminal, in which a small shell of ours starts the program.

use std::process::Stdio;

use crate::support::{Bench, Sandbox};

/// Plays a scene in a pseudo-terminal. `argv[1]` is the scene, the rest is the command line. Whatever is not as it should
/// be ends it with a message.
const STAGE: &str = r#"
import fcntl, os, pty, re, select, signal, sys, termios, time

scene, command = sys.argv[1], sys.argv[2:]
master, slave = pty.openpty()
before = termios.tcgetattr(slave)
told_out, told_in = os.pipe()      # what the shell tells
order_out, order_in = os.pipe()    # what it is told
heard = b""

def fail(why):
    print(f"{scene}: {why}; heard: {heard.decode(errors='replace')}; terminal: {termios.tcgetattr(slave)}", flush=True)
    # A pid of 0 would be this whole process group, with the tests in it.
    for pid in (each for each in (child, program) if each):
        try: os.kill(pid, signal.SIGKILL)
        except Exception: pass
    sys.exit(1)

def defaults():
    # Whoever started the tests may ignore some of them: a shell does in what it starts in the background.
    for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)

def spawn():
    pid = os.fork()
    if pid == 0:
        for stream in (0, 1, 2): os.dup2(slave, stream)
        for fd in (master, slave, told_out, told_in, order_out, order_in): os.close(fd)
        defaults()
        os.execvp(command[0], command)
    return pid

def shell():
    """Job control as a shell does it: the job in a group of its own, in the foreground or not."""
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP): signal.signal(number, signal.SIG_IGN)
    gate_out, gate_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.read(gate_out, 1)
        os.close(gate_out); os.close(gate_in)
        for stream in (0, 1, 2): os.dup2(slave, stream)
        for fd in (master, slave, told_out, told_in, order_out, order_in): os.close(fd)
        defaults()
        os.execvp(command[0], command)
    os.setpgid(pid, pid)
    if scene != "background": os.tcsetpgrp(slave, pid)
    os.write(gate_in, b"x")
    os.write(told_in, f"pid {pid}\n".encode())
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.tcsetpgrp(slave, os.getpgrp())
            os.write(told_in, b"stopped\n")
            where = os.read(order_out, 1)
            if where == b"f": os.tcsetpgrp(slave, pid)
            os.kill(-pid, signal.SIGCONT)
        else:
            how = f"exit {os.WEXITSTATUS(status)}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
            os.write(told_in, f"{how}\n".encode())
            os._exit(0)

program = 0
child = os.fork()
if child == 0:
    if scene == "alone":
        # Nobody is there to continue it: the leader of its session, as in a container.
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for stream in (0, 1, 2): os.dup2(slave, stream)
        for fd in (master, slave): os.close(fd)
        defaults()
        os.execvp(command[0], command)
    shell()

def pump(seconds):
    global heard
    ready, _, _ = select.select([master], [], [], seconds)
    if ready:
        try: heard += os.read(master, 65536)
        except OSError: pass

def expect(text):
    global heard
    until = time.monotonic() + 60
    while not (found := re.search(text.encode(), heard)):
        if time.monotonic() > until: fail(f"never heard {text!r}")
        pump(0.1)
    heard = heard[found.end():]

def terminal(taken):
    """Waits until the terminal is taken for keys, or as it was."""
    until = time.monotonic() + 60
    while True:
        now = termios.tcgetattr(slave)
        raw = not now[3] & (termios.ICANON | termios.ECHO)
        if raw if taken else now == before: return
        if time.monotonic() > until: fail(f"the terminal is {'not taken' if taken else 'not as it was'}")
        pump(0.05)

def told(text):
    told_text, until = b"", time.monotonic() + 60
    while not told_text.endswith(b"\n"):
        ready, _, _ = select.select([told_out, master], [], [], 0.1)
        if told_out in ready: told_text += os.read(told_out, 1)
        if master in ready: pump(0)
        if time.monotonic() > until: fail(f"the shell never said {text!r}")
    if not re.fullmatch(text.encode() + b"\n", told_text): fail(f"the shell said {told_text!r}, not {text!r}")
    return told_text

def press(keys): os.write(master, keys)

def ended_alone():
    until = time.monotonic() + 60
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid: return status
        pump(0.1)
        if time.monotonic() > until: fail("it did not end")

if scene != "alone":
    program = int(told(r"pid \d+").split()[1])

if scene == "keys":
    expect("keys: p pauses and resumes, . and - change the VUs by a tenth, q stops")
    terminal(taken=True)
    press(b"zp"); expect("paused")
    press(b"p"); expect("resumed")
    press(b"+"); expect("fetch: 20 .+? 22 VUs")
    press(b"--"); expect("fetch: 22 .+? 20 VUs"); expect("fetch: 20 .+? 18 VUs")
    press(b"?"); expect("keys: p pauses")
    press(b"\x1a"); told("stopped")
    terminal(taken=False)
    os.write(order_in, b"b")              # on, in the background: the terminal is the shell's
    time.sleep(0.5)
    terminal(taken=False)
    os.kill(program, signal.SIGTSTP); told("stopped")
    os.write(order_in, b"f")              # on, in the foreground
    terminal(taken=True)
    press(b"p"); expect("paused")
    press(b"q"); expect("stopping")
    press(b"q")
    told("exit 103")
    terminal(taken=False)
elif scene == "interrupt":
    expect("keys:"); terminal(taken=True)
    press(b"\x03"); told("exit 105")
    terminal(taken=False)
elif scene == "quit":
    expect("keys:"); terminal(taken=True)
    press(b"\x1c"); told("signal 6")
    terminal(taken=False)
elif scene == "background":
    time.sleep(2)
    press(b"q")
    terminal(taken=False)
    told("exit (0|121)")
    terminal(taken=False)
    if b"keys:" in heard or b"Stopped" in heard: fail("keys in the background")
elif scene == "quiet":
    time.sleep(2)
    terminal(taken=False)
    told("exit (0|121)")
elif scene == "alone":
    expect("keys:"); terminal(taken=True)
    press(b"\x1a")                       # would stop it for ever
    press(b"p"); expect("paused")
    press(b"q"); expect("stopping")
    status = ended_alone()
    if not os.WIFEXITED(status) or os.WEXITSTATUS(status) != 103: fail(f"ended with {status}")
    terminal(taken=False)
print("as it should be", flush=True)
"#;

async fn play(scene: &str, flags: &[&str]) {
    let python = std::process::Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    if !python.is_ok_and(|status| status.success()) {
        #[expect(clippy::print_stderr, reason = "the only way to say that a test was left out")]
        {
            eprintln!("left out: there is no python3 to play the terminal");
        }
        return;
    }
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let load = [&["load", "-u", "20", "--warmup", "0s", "--no-publish", "--no-tui"], flags].concat();
    let ended = bench.play(STAGE, scene, &load).await;
    assert!(ended.code == Some(0) && ended.stdout.ends_with("as it should be\n"), "{ended:#?}");
    if scene != "quit" {
        assert!(sandbox.items().await.is_empty());
    }
}

const LONG: [&str; 2] = ["-d", "100s"];

#[tokio::test]
async fn keys_control_a_run_and_the_terminal_is_given_back_to_a_shell() {
    play("keys", &LONG).await;
}

#[tokio::test]
async fn the_terminal_is_as_it_was_after_ctrl_c_and_after_quit() {
    play("interrupt", &LONG).await;
    play("quit", &LONG).await;
}

#[tokio::test]
async fn in_the_background_and_when_it_is_to_be_quiet_the_terminal_is_left_alone() {
    play("background", &["-d", "4s"]).await;
    play("quiet", &["-d", "4s", "--quiet"]).await;
}

#[tokio::test]
async fn where_nobody_could_continue_it_a_run_is_not_stopped() {
    play("alone", &LONG).await;
}
