/** The processes that an agent's shims are copied from. */
import { readdirSync, readFileSync } from 'node:fs';

const TITLE = 'covey-shim\0--template\0';

/** Those of process `parent`, in no order; zombies are none. */
export function templatesOf(parent: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isTemplateOf(name, parent))
    .map(Number);
}

function isTemplateOf(pid: string, parent: number): boolean {
  try {
    if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(TITLE)) return false;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(parent);
  } catch {
    // It has ended meanwhile.
    return false;
  }
}
