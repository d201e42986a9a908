/** What the threads of a process are at. */
import { readdirSync, readFileSync } from 'node:fs';

/** Whether one of them waits for a message. */
export function isHearing(pid: number | undefined): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.some((id) => readFileSync(`/proc/${pid}/task/${id}/wchan`, 'utf8').includes('skb_wait'));
}
