/** The machine that the figures belong to. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { VERSION } from '../../common/version.ts';

/** Processor, memory, kernel, distribution, programs and load, a line each. */
export function machine(): readonly string[] {
  const cores = cpus();
  const memoryGib = totalmem() / 2 ** 30;
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown';
  const load = loadavg().map((value) => value.toFixed(2));
  return [
    `machine:  ${cores.length} x ${cores[0]?.model.trim() ?? 'unknown'}, ${memoryGib.toFixed(0)} GiB`,
    `kernel:   ${release()}, ${distribution}`,
    `programs: covey ${VERSION}, node ${process.version}, etcd ${version('etcd')}, crun ${version('crun')}, runc ${version('runc')}`,
    `load:     ${load.join(' ')} (1, 5, 15 minutes)`,
  ];
}

function version(program: string): string {
  try {
    const text = execFileSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return /\d+\.\d+[.\d]*/.exec(text)?.[0] ?? 'unknown';
  } catch {
    return 'absent';
  }
}
