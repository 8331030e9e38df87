# docker build -t dnar2mae .                        for a CPU
# docker build -t dnar2mae --build-arg CUDA=1 .     torch's CUDA build; run with --gpus all
# docker run --rm -v "$PWD:/data" dnar2mae pretrain genome.fa.gz --out runs/first
FROM python:3.11-slim
ARG CUDA=
WORKDIR /src
COPY . .
# from constraints.txt, as make installs it; torch first, since PyPI's build for Linux is the one with CUDA
RUN if [ -z "$CUDA" ]; then \
        pip install --no-cache-dir --no-deps --constraint constraints.txt \
            --index-url https://download.pytorch.org/whl/cpu torch; \
    fi && \
    pip install --no-cache-dir --constraint constraints.txt '.[all]' && \
    dnar2mae --version
WORKDIR /data
ENTRYPOINT ["dnar2mae"]
