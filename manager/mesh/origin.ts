/**
 * Which piece of a blob a manager gives to whom: each piece once, to one node, and from there it is the nodes' own affair.
 * Only what a node took away with it when it left, or what the others do not hand on, is given again. PURE but for what
 * it remembers of one blob.
 */
import { PieceSet } from '../../common/oci/cut.ts';

/** A node goes on from the beginning of the blob: it unpacks meanwhile. */
const HEAD = 16;

export class Origin {
  readonly #count: number;
  /** How many nodes that are still there were given each piece. */
  readonly #given: Uint16Array;
  readonly #byNode = new Map<string, PieceSet>();

  /** @param count  the blob's pieces */
  constructor(count: number) {
    this.#count = count;
    this.#given = new Uint16Array(count);
  }

  /**
   * The piece for that node; it counts as given. Undefined: others have them all, or are about to.
   *
   * @param lacking  what it lacks and has not asked others for
   * @param isSpread  true while a node that answers has the whole blob
   * @param isUrgent  the node gets nothing from others
   * @param random  0 ≤ x < 1
   */
  give(
    nodeId: string,
    lacking: PieceSet,
    { isSpread, isUrgent }: { readonly isSpread: boolean; readonly isUrgent: boolean },
    random: () => number,
  ): number | undefined {
    const index = isUrgent ? this.#least(lacking) : isSpread ? undefined : this.#fresh(lacking, random);
    if (index === undefined) return undefined;
    const mine = this.#byNode.get(nodeId) ?? new PieceSet(this.#count);
    this.#byNode.set(nodeId, mine);
    if (mine.add(index)) this.#given[index] = (this.#given[index] ?? 0) + 1;
    return index;
  }

  /** It was not taken after all. */
  takeBack(nodeId: string, index: number): void {
    const mine = this.#byNode.get(nodeId);
    if (mine?.has(index) !== true) return;
    const rest = new PieceSet(this.#count);
    for (let each = 0; each < this.#count; each += 1) if (each !== index && mine.has(each)) rest.add(each);
    this.#byNode.set(nodeId, rest);
    this.#given[index] = (this.#given[index] ?? 1) - 1;
  }

  /** The node has gone with what it had. */
  left(nodeId: string): void {
    const mine = this.#byNode.get(nodeId);
    if (mine === undefined) return;
    this.#byNode.delete(nodeId);
    for (let index = 0; index < this.#count; index += 1)
      if (mine.has(index)) this.#given[index] = (this.#given[index] ?? 1) - 1;
  }

  /** One of the first that nobody was given. */
  #fresh(lacking: PieceSet, random: () => number): number | undefined {
    const found: number[] = [];
    for (let index = 0; index < this.#count && found.length < HEAD; index += 1)
      if (this.#given[index] === 0 && lacking.has(index)) found.push(index);
    return found[Math.floor(random() * found.length)];
  }

  /** The first of those that were given least. */
  #least(lacking: PieceSet): number | undefined {
    let least: number | undefined;
    for (let index = 0; index < this.#count; index += 1) {
      if (!lacking.has(index)) continue;
      if (least === undefined || (this.#given[index] ?? 0) < (this.#given[least] ?? 0)) least = index;
    }
    return least;
  }
}
