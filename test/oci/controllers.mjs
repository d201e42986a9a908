// The cgroup v1 hierarchies that a suite looks for, for as long as it runs, and the cgroups that its programs leave.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';

const CGROUPS = '/sys/fs/cgroup';
const SUITE_CGROUP = 'testdir';
const LOOKS_MAX = 100;
const LOOK_MS = 100;

/** The row of a controller in /proc/cgroups: name, hierarchy, cgroups, enabled. */
function rowOf(controller) {
  const rows = readFileSync('/proc/cgroups', 'utf8')
    .split('\n')
    .map((line) => line.split('\t'));
  return rows.find(([name]) => name === controller) ?? [];
}

/** Mounts the controllers that the kernel has and nobody has mounted; what undoes it. */
export function mountControllers() {
  const isFree = (name) => rowOf(name)[1] === '0' && !existsSync(join(CGROUPS, name));
  const places = ['net_cls', 'net_prio', 'hugetlb'].filter(isFree).map((name) => join(CGROUPS, name));
  for (const place of places) {
    mkdirSync(place);
    spawnSync('mount', ['-t', 'cgroup', '-o', basename(place), 'cgroup', place], { stdio: 'inherit' });
  }
  return () => {
    for (const place of places) {
      spawnSync('find', [place, '-mindepth', '1', '-depth', '-type', 'd', '-delete'], { stdio: 'inherit' });
      // A hierarchy whose last cgroup is still on its way out would stay for ever.
      for (let looks = 0; rowOf(basename(place))[2] !== '1' && looks < LOOKS_MAX; looks += 1) pause();
      spawnSync('umount', [place], { stdio: 'inherit' });
      rmdirSync(place);
    }
  };
}

/** Removes the cgroups above those of containers, which the suite names and a runtime makes beneath the root or our own. */
export function removeCgroups() {
  const rows = readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n');
  const places = rows.flatMap((row) => {
    const [, names, path] = /^\d+:(?:name=)?([^:]*):(.*)$/.exec(row);
    const hierarchies = names === '' ? ['', 'unified'] : [names];
    return hierarchies.flatMap((name) => [join(CGROUPS, name, SUITE_CGROUP), join(CGROUPS, name, path, SUITE_CGROUP)]);
  });
  for (const place of new Set(places.filter((path) => existsSync(path))))
    spawnSync('find', [place, '-depth', '-type', 'd', '-delete'], { stdio: 'inherit' });
}

function pause() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
}
