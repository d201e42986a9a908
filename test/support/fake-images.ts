/** Images without disks or managers: answers at once, unless told to fail or to wait. */
import type { HeldImage, Images, UnpackedImage } from '../../agent/image/image.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { ImageConfig } from '../../common/oci/config.ts';

export const PLAIN_CONFIG: ImageConfig = {
  entrypoint: [],
  cmd: ['/server'],
  env: ['PATH=/bin'],
  workdir: '',
  user: '',
  stopSignal: '',
  exposedPorts: [],
  labels: {},
};

export class FakeImages implements Images {
  /** Every `ensure` so far, in order, as `reference@digest`. */
  readonly asked: string[] = [];
  readonly #configs = new Map<string, ImageConfig>();
  readonly #failures = new Map<string, unknown[]>();
  readonly #gates = new Map<string, { readonly opened: Promise<void>; readonly open: () => void }>();

  /** Gives the image of that reference another config than PLAIN_CONFIG. */
  configure(reference: string, config: Partial<ImageConfig>): void {
    this.#configs.set(reference, { ...PLAIN_CONFIG, ...config });
  }

  /** The next `ensure` of the reference rejects with `cause`; several queue up. */
  failNext(reference: string, cause: unknown): void {
    this.#failures.set(reference, [...(this.#failures.get(reference) ?? []), cause]);
  }

  /** Holds back every `ensure` of the reference until the returned function is called. */
  hold(reference: string): () => void {
    const gate = withResolvers<void>();
    const open = (): void => {
      this.#gates.delete(reference);
      gate.resolve();
    };
    this.#gates.set(reference, { opened: gate.promise, open });
    return open;
  }

  async ensure(reference: string, digest: Digest, signal: AbortSignal): Promise<UnpackedImage> {
    signal.throwIfAborted();
    this.asked.push(`${reference}@${digest}`);
    const gate = this.#gates.get(reference);
    if (gate !== undefined) await untilAborted(gate.opened, signal);
    const failures = this.#failures.get(reference) ?? [];
    if (failures.length > 0) throw failures.shift();
    return { digest, layers: ['/fake/layer'], config: this.#configs.get(reference) ?? PLAIN_CONFIG };
  }

  async list(): Promise<readonly HeldImage[]> {
    return [];
  }

  async touch(): Promise<void> {}

  async remove(): Promise<boolean> {
    return false;
  }

  async sweep(): Promise<void> {}
}
