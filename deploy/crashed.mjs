// Removes what test processes that crashed have left: containers in cgroups, and folders, that bear the pid of a process
// that is gone. What belongs to a living process is nobody else's business.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
const OURS = /^covey-test-(\d+)-/;
const TRIES = 100;

const isOrphan = (name) => {
  const pid = OURS.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
};

const folders = (dir) =>
  existsSync(dir) ? readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory()) : [];

/** The cgroup and all beneath it, deepest first. */
const beneath = (dir) => [...folders(dir).flatMap((entry) => beneath(join(dir, entry.name))), dir];

function members(dir) {
  try {
    return readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Kills what is inside, then removes it; a cgroup whose last process has just ended takes a moment. */
async function removeCgroup(dir) {
  for (let tries = 0; tries < TRIES; tries += 1) {
    try {
      for (const each of beneath(dir)) {
        for (const pid of members(each)) process.kill(pid, 'SIGKILL');
        rmdirSync(each);
      }
      return;
    } catch (cause) {
      if (cause.code === 'ENOENT') return;
      await new Promise((done) => setTimeout(done, 20));
    }
  }
}

/** What is mounted in the folder, the newest first: a disk of a test whose container was the last to use it. */
function unmountIn(folder) {
  const targets = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${folder}/`));
  for (const target of targets.reverse()) execFileSync('umount', [target]);
}

/** Resolves to how much there was. */
export async function removeCrashed() {
  let removed = 0;
  for (const root of [ROOT, ...folders(ROOT).map((entry) => join(ROOT, entry.name))]) {
    for (const { name } of folders(root).filter((entry) => isOrphan(entry.name))) {
      await removeCgroup(join(root, name));
      removed += 1;
    }
  }
  for (const name of readdirSync(tmpdir()).filter(isOrphan)) {
    unmountIn(join(tmpdir(), name));
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
    removed += 1;
  }
  return removed;
}
