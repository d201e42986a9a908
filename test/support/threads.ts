/** What the threads of a process are at. */
import { readdirSync, readFileSync } from 'node:fs';

/** Whether one of them waits for a message. */
export const isHearing = (pid: number | undefined): boolean => isIn('skb_wait', pid);

/** Whether one of them waits in poll; an event loop does in epoll. */
export const isPolling = (pid: number | undefined): boolean => isIn('do_sys_poll', pid) || isIn('poll_sched', pid);

function isIn(wait: string, pid: number | undefined): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.some((id) => readFileSync(`/proc/${pid}/task/${id}/wchan`, 'utf8').includes(wait));
}
