/** A program that does nothing but keep an embedded etcd, so that a test can kill it. Prints etcd's pid. */
import { systemClock } from '../../common/clock.ts';
import { noLog } from '../../common/log.ts';
import { EmbeddedEtcd } from '../../manager/store/embedded.ts';

const embedded = await EmbeddedEtcd.start(
  { directory: process.argv[2] as string, clock: systemClock, log: noLog },
  AbortSignal.timeout(30_000),
);
console.log(embedded.pid);
process.stdin.resume();
