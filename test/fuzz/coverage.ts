/** Which parts of our own code ran, by V8's precise coverage. */
import { Session } from 'node:inspector';

interface Block {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface Script {
  readonly url: string;
  readonly functions: readonly { readonly ranges: readonly Block[] }[];
}

export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();
  readonly #part: RegExp;

  /** @param part  the sources that count, by their address */
  constructor(part: RegExp) {
    this.#part = part;
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** How many blocks were seen so far. */
  get size(): number {
    return this.#seen.size;
  }

  /** What ran since the last call and never before it; from now on it has been seen. */
  fresh(): Set<string> {
    const ran = this.ran();
    for (const block of ran) {
      if (this.#seen.has(block)) ran.delete(block);
      else this.#seen.add(block);
    }
    return ran;
  }

  /** What ran since the last call. */
  ran(): Set<string> {
    const { result } = this.#post('Profiler.takePreciseCoverage') as { readonly result: readonly Script[] };
    const ran = new Set<string>();
    for (const { url, functions } of result) {
      if (!this.#part.test(url)) continue;
      for (const { startOffset, endOffset, count } of functions.flatMap(({ ranges }) => ranges))
        if (count > 0) ran.add(`${url}:${startOffset}:${endOffset}`);
    }
    return ran;
  }

  close(): void {
    this.#session.disconnect();
  }

  /** The profiler answers before `post` returns. */
  #post(method: string, parameters: object = {}): object {
    let answer: object = {};
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw error;
      answer = result ?? {};
    });
    return answer;
  }
}
