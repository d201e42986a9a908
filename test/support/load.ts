/** Load on one address of our own cluster: a fixed number of connections, each asking again until it is told to stop. */
import { Agent, get } from 'node:http';

export interface LoadResult {
  readonly answered: number;
  /** What went wrong, at most the first 20. */
  readonly failures: readonly string[];
  readonly failed: number;
  /** Answers by version. */
  readonly versions: ReadonlyMap<string, number>;
  /** Host names that answered. */
  readonly hosts: ReadonlySet<string>;
  /** Clients that the servers saw. */
  readonly clients: ReadonlySet<string>;
}

export interface LoadOptions {
  /** `http://ADDRESS:PORT/?ms=50` */
  readonly url: string;
  readonly connections: number;
  readonly keepAlive: boolean;
  /** The load ends by itself after so many requests, whatever happens. */
  readonly requestsMax?: number;
}

const REQUEST_MS = 10_000;
const FAILURES_KEPT = 20;

/** What one request brought. @throws when it failed */
export interface Answer {
  readonly hostname: string;
  readonly version: string;
  readonly client: string;
}

/** Asks once. */
export function ask(url: string, agent?: Agent): Promise<Answer> {
  return new Promise((done, fail) => {
    const request = get(
      url,
      { timeout: REQUEST_MS, ...(agent === undefined ? { agent: false } : { agent }) },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('error', fail);
        response.on('end', () => {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1] ?? '';
          if (response.statusCode !== 200 || !response.complete) fail(new Error(`status ${response.statusCode}`));
          else done({ hostname: field('hostname'), version: field('version'), client: field('client') });
        });
      },
    );
    request.on('timeout', () => request.destroy(new Error(`no answer within ${REQUEST_MS} ms`)));
    request.on('error', fail);
  });
}

/** Starts the load; `stop` lets the requests under way end and tells what happened. */
export function startLoad(options: LoadOptions): { stop(): Promise<LoadResult>; answered(): number } {
  const versions = new Map<string, number>();
  const hosts = new Set<string>();
  const clients = new Set<string>();
  const failures: string[] = [];
  let answered = 0;
  let failed = 0;
  let left = options.requestsMax ?? 200_000;
  let stopped = false;
  const connection = async (): Promise<void> => {
    const agent = options.keepAlive ? new Agent({ keepAlive: true, maxSockets: 1 }) : undefined;
    while (!stopped && left > 0) {
      left -= 1;
      try {
        const answer = await ask(options.url, agent);
        answered += 1;
        versions.set(answer.version, (versions.get(answer.version) ?? 0) + 1);
        hosts.add(answer.hostname);
        clients.add(answer.client.split(':')[0] ?? '');
      } catch (cause) {
        failed += 1;
        if (failures.length < FAILURES_KEPT) failures.push(`${new Date().toISOString()} ${String(cause)}`);
      }
    }
    agent?.destroy();
  };
  const all = Promise.all(Array.from({ length: options.connections }, connection));
  return {
    answered: () => answered,
    async stop() {
      stopped = true;
      await all;
      return { answered, failed, failures, versions, hosts, clients };
    },
  };
}
