/** What a container has received and sent over its own network. Source: proc(5), /proc/PID/net/dev. */
import { readFile } from 'node:fs/promises';

export interface NetworkUse {
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** Nothing for one that has ended. @param pid  of a process of it */
export async function networkUseOf(pid: number): Promise<NetworkUse> {
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8').catch(() => '');
  return parseNetworkUse(text);
}

/** All interfaces but loopback together. */
export function parseNetworkUse(text: string): NetworkUse {
  let [receivedBytes, sentBytes] = [0, 0];
  for (const line of text.split('\n')) {
    const [, name, counts] = /^\s*([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || counts === undefined || name === 'lo') continue;
    const numbers = counts.trim().split(/\s+/).map(Number);
    receivedBytes += numbers[0] ?? 0;
    sentBytes += numbers[8] ?? 0;
  }
  return { receivedBytes, sentBytes };
}
