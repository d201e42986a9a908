/** Where lines of several nodes become the one stream of a reader. */

export interface Outlet<T> {
  /** One more writer; its `end` must come some time. */
  writer(): Writer<T>;
  /** No more writers; the reader gets what waits. */
  end(): void;
  /** The one reader. Leaving it frees all writers. */
  read(): AsyncIterable<T>;
}

export interface Writer<T> {
  /** Resolves when there is room for more; false when the reader has gone. */
  put(items: readonly T[]): Promise<boolean>;
  /** It has no more. */
  end(): void;
}
